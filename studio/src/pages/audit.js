// Verifies the studio's ledger in the browser, tile by tile, with what this page loads and nothing else.
// The newest checkpoint that was found right is remembered: the next time the log must go on from it,
// whatever the server says by then.

import { Disbelieved, Finding, Verifier, hashesOf, leavesOf, openNote, openStub, readKey, tilePath, tiles } from "/ui/ledger.js";

const area = document.getElementById("verify");
const [state, bar, go, keep] = ["state", "progress", "go", "keep"].map((id) => document.getElementById(id));
const ORIGIN = "studio.watertight/ledger/";
/** The leaves that were verified, for whoever keeps them. */
let verified = [];

/** Waits where the server says that it is asked too much. */
async function load(path) {
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(`/ui/audit/${path}`, { credentials: "same-origin", redirect: "error" });
    if (answer.ok) return answer;
    if (![429, 503].includes(answer.status) || tries >= 20) throw new Error(`${path}: answered ${answer.status}`);
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    await new Promise((wake) => setTimeout(wake, seconds * 1000));
  }
}

const bytes = async (path) => new Uint8Array(await (await load(path)).arrayBuffer());

/** What an earlier visit found right. Its key is believed as it was then. */
async function remembered(origin) {
  const text = localStorage.getItem(origin);
  if (text === null) return [];
  const { note, keys, day } = JSON.parse(text);
  const then = await Promise.all(keys.map(readKey));
  return [await openNote(note, origin, then, `the checkpoint that this browser remembers since ${day}`)];
}

async function verify() {
  const given = await (await load("checkpoints")).json();
  if (given.items.length === 0) return "There is no checkpoint yet; try again in a second.";
  const { origin } = given;
  const keys = await Promise.all(given.keys.map(readKey));
  const said = await remembered(origin);
  for (const { day, note } of given.items) said.push(await openNote(note, origin, keys, `the checkpoint of ${day}`));
  const stub = given.removed === null ? null : await openStub(given.removed, origin, keys, "the stub");
  const verifier = new Verifier(origin.slice(ORIGIN.length), said, stub);
  const size = Math.max(...said.map((checkpoint) => checkpoint.size));
  verified = [];
  bar.max = size;
  for (const { n, width } of tiles(verifier.size, size)) {
    const [tile, bundle] = await Promise.all([bytes(tilePath("0", n, width)), bytes(tilePath("entries", n, width))]);
    const [hashes, leaves] = [hashesOf(tile), leavesOf(bundle)];
    for (const [at, leaf] of leaves.entries()) await verifier.entry(leaf, hashes[at] ?? null);
    verified.push(...leaves);
    bar.value = verifier.size;
    state.textContent = `${verifier.size} of ${size} entries are right so far.`;
  }
  const { entries, covered, removed, checkpoints } = await verifier.end();
  const newest = given.items.reduce((one, other) => (other.size > one.size ? other : one));
  localStorage.setItem(origin, JSON.stringify({ note: newest.note, keys: given.keys, day: newest.day }));
  const gone = removed > 0 ? ` The first ${removed} were removed after their time, as the studio's signed stub says.` : "";
  return `Sound: ${entries} entries, ${covered} of them covered by ${checkpoints} ${checkpoints === 1 ? "checkpoint" : "checkpoints"}.${gone}`;
}

function told(error) {
  if (error instanceof Finding) return `Tampered: ${error.message}.`;
  if (error instanceof Disbelieved) return `Tampered: not to be believed: ${error.message}.`;
  return `Could not be verified: ${error.message}.`;
}

go.addEventListener("click", async () => {
  go.disabled = true;
  keep.hidden = true;
  bar.hidden = false;
  area.dataset.verdict = "";
  state.textContent = "One moment …";
  try {
    state.textContent = await verify();
    area.dataset.verdict = "sound";
    keep.hidden = verified.length === 0;
  } catch (error) {
    state.textContent = told(error);
    area.dataset.verdict = "found";
  }
  bar.hidden = true;
  go.disabled = false;
});

keep.addEventListener("click", () => {
  const lines = verified.flatMap((leaf) => [leaf, "\n"]);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = "leaves.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
});

go.hidden = false;
