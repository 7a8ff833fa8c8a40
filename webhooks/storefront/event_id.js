// The id of a purchase and of a catalogue's item, by the rule of integrations/event.py and to the letter:
// tests/data/event_ids.json is asked of both.
//
// `names` are what the page knows of the order: {order_id, checkout_token, …, attributes: {KEY: text}}. Empty text
// says that the order has no such name. A name that is undefined may be there without the page knowing it: then
// there is no id (""), for a made-up one would count the purchase twice.

const NO_ID = ["undefined", "null", "none", "nan", "true", "false", "[object object]"];
const LONGEST_ID = 255;

function eventId(template, names) {
  return filled(template, (name) => named(names, name), names.order_id || "");
}

function itemId(template, item) {
  return filled(template, (name) => own(item, name) || "", "");
}

// A shop may call an attribute "constructor", which every object of the browser has.
function own(object, name) {
  return Object.prototype.hasOwnProperty.call(object, name) ? object[name] : undefined;
}

function named(names, name) {
  if (!name.startsWith("meta:")) return own(names, name);
  if (!names.attributes) return undefined;
  const noted = own(names.attributes, name.slice("meta:".length)) || "";
  return Array.from(noted).length <= LONGEST_ID && !NO_ID.includes(noted.toLowerCase()) ? noted : "";
}

// The template with its placeholders filled, "" if one of them cannot be.
function filled(template, lookUp, missing) {
  const pieces = template.split(/\{([^{}]*)\}/);
  let written = pieces[0];
  for (let at = 1; at < pieces.length; at += 2) {
    const value = firstOf(pieces[at].split("|"), lookUp, missing);
    if (!value) return "";
    written += value + pieces[at + 1];
  }
  return written;
}

function firstOf(candidates, lookUp, missing) {
  for (const candidate of candidates) {
    const value = lookUp(candidate);
    if (value === undefined) return "";
    if (value) return value;
  }
  return missing;
}

// Name/value pairs that a storefront attached to an order, as integrations/untrusted.py reads them.
function pairsOf(list) {
  const pairs = {};
  for (const [name, value] of list) {
    const key = textOf(name);
    const written = textOf(value);
    if (key && written && own(pairs, key) === undefined) pairs[key] = written;
  }
  return pairs;
}

function textOf(value) {
  const isText = typeof value === "string" || typeof value === "number";
  return isText ? String(value).trim() : "";
}
