-- One step for all buckets of a request, by the store's clock. The arithmetic of `gcra.rs`.
-- KEYS: the buckets. ARGV, four each: interval in microseconds, burst, units, what is done with them.
-- Answers two numbers each: in how many microseconds it is whole again, and how many were lacking.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local steps, granted = {}, true
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  local interval, units, kind = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  local last = now + tonumber(ARGV[at + 2]) * interval
  local before = math.min(math.max(tonumber(redis.call('GET', key) or now), now), last)
  local after, lacks = before + units * interval, 0
  if kind == 'take' then
    lacks = math.max(after - last, 0)
    granted = granted and lacks == 0
  elseif kind == 'charge' then
    after = math.min(after, last)
  else
    after = math.max(before - units * interval, now)
  end
  steps[i] = { before, after, lacks }
end
local answer = {}
for i, key in ipairs(KEYS) do
  local before, after, lacks = unpack(steps[i])
  if granted or ARGV[(i - 1) * 4 + 4] ~= 'take' then
    if after > now then
      redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
    else
      redis.call('DEL', key)
    end
  end
  answer[#answer + 1] = (granted and after or before) - now
  answer[#answer + 1] = lacks
end
return answer
