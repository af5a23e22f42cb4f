"""Reads a calendar from the standard input as the package `icalendar` understands it, and says every
field of every event, as JSON. Instants are made of the calendar's own VTIMEZONE, not of the name."""

import datetime
import json
import sys

import icalendar


def told(component, name):
    value = component.get(name)
    return None if value is None else str(value)


def as_text(value):
    # The package leaves the texts that RFC 7986 added as they stand.
    event = icalendar.Event.from_ical(f"BEGIN:VEVENT\r\nSUMMARY:{value}\r\nEND:VEVENT\r\n")
    return str(event["SUMMARY"])


def time_of(component, name, zones):
    field = component[name]
    value = field.dt
    if not isinstance(value, datetime.datetime):
        return {"date": value.isoformat()}
    zone = field.params.get("TZID")
    wall = value.replace(tzinfo=None)
    instant = wall.replace(tzinfo=zones[zone]) if zone else value
    in_utc = instant.astimezone(datetime.timezone.utc)
    return {"zone": zone, "local": wall.isoformat(), "instant": in_utc.strftime("%Y-%m-%dT%H:%M:%SZ")}


def in_utc(component, name):
    value = component[name].dt
    assert value.utcoffset() == datetime.timedelta(0), name
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def event(component, zones):
    return {
        "uid": told(component, "UID"),
        "sequence": int(component["SEQUENCE"]),
        "stamp": in_utc(component, "DTSTAMP"),
        "created": in_utc(component, "CREATED"),
        "modified": in_utc(component, "LAST-MODIFIED"),
        "status": told(component, "STATUS"),
        "transparency": told(component, "TRANSP"),
        "summary": told(component, "SUMMARY"),
        "description": told(component, "DESCRIPTION"),
        "categories": [str(one) for one in component["CATEGORIES"].cats] if "CATEGORIES" in component else [],
        "start": time_of(component, "DTSTART", zones),
        "end": time_of(component, "DTEND", zones),
        "names": sorted(component.keys()),
    }


calendar = icalendar.Calendar.from_ical(sys.stdin.buffer.read())
assert not list(calendar.errors), calendar.errors
zones = {str(one["TZID"]): one.to_tz(lookup_tzid=False) for one in calendar.walk("VTIMEZONE")}
events = calendar.walk("VEVENT")
for one in calendar.walk():
    assert not one.errors, one.errors
json.dump(
    {
        "version": told(calendar, "VERSION"),
        "name": as_text(told(calendar, "NAME")),
        "zones": sorted(zones),
        "observances": [one.name for zone in calendar.walk("VTIMEZONE") for one in zone.subcomponents],
        "events": [event(one, zones) for one in events],
    },
    sys.stdout,
)
