// Verifies a studio's ledger: what `docs/formats/ledger.md` says, computed with WebCrypto alone. Bytes in,
// verdict out; nothing here loads anything or touches a page. Its vectors are docs/formats/vectors/ledger.json.

const TILE = 256;
const KIND = 1;
const LONGEST = 10_000;
const text = new TextEncoder();

export class Finding extends Error {
  /** What is wrong, with which entry: `kind` is its name in docs/formats/ledger.md. */
  constructor(kind, seq, message, id = null) {
    super(message);
    Object.assign(this, { kind, seq, id });
  }
}

/** A note or a key that is not believed. */
export class Disbelieved extends Error {}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Base64 in its one spelling. */
function base64(encoded) {
  const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  if (btoa(String.fromCharCode(...bytes)) !== encoded) throw new Disbelieved("base64 is malformed");
  return bytes;
}

function concat(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

export const leafHash = (leaf) => sha256([0], leaf);
const nodeHash = (left, right) => sha256([1], left, right);
export const chainHash = (before, leaf) => sha256([2], before, leaf);

/** A tree that only grows: the roots of its whole subtrees, each with its height. */
export class Tree {
  size = 0;
  #subtrees = [];

  /** The tree of so many leaves by those roots, largest first. */
  static ofEdge(size, peaks) {
    const tree = new Tree();
    for (let height = 53; height >= 0; height -= 1) {
      if (Math.floor(size / 2 ** height) % 2 === 1) tree.#subtrees.push([height, peaks[tree.#subtrees.length]]);
    }
    if (tree.#subtrees.length !== peaks.length) throw new Disbelieved("it is no stub of removed entries");
    tree.size = size;
    return tree;
  }

  async push(leaf) {
    let [height, hash] = [0, leaf];
    while (this.#subtrees.at(-1)?.[0] === height) {
      hash = await nodeHash(this.#subtrees.pop()[1], hash);
      height += 1;
    }
    this.#subtrees.push([height, hash]);
    this.size += 1;
  }

  async root() {
    if (this.size === 0) return sha256();
    const [[, smallest], ...larger] = this.#subtrees.toReversed();
    let root = smallest;
    for (const [, left] of larger) root = await nodeHash(left, root);
    return root;
  }
}

/** A public key as signed-note writes it, `name+id+key`, whose id is its own. */
export async function readKey(line) {
  const [, name, id, typed] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(line.trim()) ?? [];
  const wrong = new Disbelieved("a key is not of the form name+id+key, or its id is not its own");
  if (name === undefined) throw wrong;
  const bytes = base64(typed);
  const named = await sha256(text.encode(`${name}\n`), bytes);
  if (bytes[0] !== KIND || bytes.length !== 33 || hex(named.slice(0, 4)) !== id) throw wrong;
  const key = await crypto.subtle.importKey("raw", bytes.slice(1), "Ed25519", false, ["verify"]);
  return { name, id, key };
}

async function isSigned(line, signed, origin, keys) {
  const start = `— ${origin} `;
  if (!line.startsWith(start)) return false;
  const bytes = base64(line.slice(start.length));
  for (const { name, id, key } of keys) {
    if (name !== origin || hex(bytes.slice(0, 4)) !== id) continue;
    if (await crypto.subtle.verify("Ed25519", key, bytes.slice(4), text.encode(signed))) return true;
  }
  return false;
}

/** What a note says of the log `origin`, once one of `keys` was found to have signed it. */
export async function openNote(note, origin, keys, source) {
  const [body, signatures] = note.split(/\n\n(.*)/s);
  if (note.length > LONGEST || signatures === undefined) throw new Disbelieved(`${source} is no checkpoint`);
  const [name, size, root, ...further] = body.split("\n");
  if (name !== origin) throw new Disbelieved(`${source} is a checkpoint of another log`);
  if (!/^(0|[1-9][0-9]{0,14})$/.test(size ?? "")) throw new Disbelieved(`${source} is no checkpoint`);
  for (const line of signatures.split("\n")) {
    if (await isSigned(line, `${body}\n`, origin, keys)) {
      const hash = base64(root);
      if (hash.length !== 32) throw new Disbelieved(`${source} is no checkpoint`);
      return { source, size: Number(size), root: hash, further };
    }
  }
  throw new Disbelieved(`${source}: none of the keys has signed it`);
}

/** What stands for removed entries: a note whose further lines say how the rest goes on. */
export async function openStub(note, origin, keys, source) {
  const { size, root, further } = await openNote(note, origin, keys, source);
  const [, before, chain] = /^removed (\S+) (\S+)$/.exec(further[0] ?? "") ?? [];
  const [, edge] = /^edge (\S+)$/.exec(further[1] ?? "") ?? [];
  const wrong = new Disbelieved(`${source} is no stub of removed entries`);
  if (before === undefined || edge === undefined || size === 0 || size % TILE !== 0) throw wrong;
  const bytes = base64(edge);
  const peaks = Array.from({ length: bytes.length / 32 }, (_, at) => bytes.slice(32 * at, 32 * at + 32));
  const tree = Tree.ofEdge(size, peaks);
  if (!same(await tree.root(), root)) throw wrong;
  return { source, size, root, before, tree, chain: base64(chain) };
}

/** Of which studio and request a leaf is; nothing when it is no leaf. */
function whose(leaf) {
  try {
    const { tenant, id } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(leaf)).entry;
    return typeof tenant === "string" && typeof id === "string" ? { tenant, id } : null;
  } catch {
    return null;
  }
}

/** Verifies one studio's log against every one of `checkpoints`, beginning after `stub` if there is one. */
export class Verifier {
  covered = 0;
  met = 0;
  #tree;

  constructor(studio, checkpoints, stub = null) {
    this.studio = studio;
    this.removed = stub?.size ?? 0;
    this.#tree = stub?.tree ?? new Tree();
    const said = stub === null ? checkpoints : [...checkpoints, stub];
    this.checkpoints = said.filter(({ size }) => size >= this.removed).sort((one, other) => one.size - other.size);
  }

  get size() {
    return this.#tree.size;
  }

  /** The next entry: its leaf's bytes, and the hash that a list has for it. */
  async entry(leaf, listed = null) {
    await this.#meet();
    const seq = this.size;
    const found = whose(leaf);
    if (found === null) throw new Finding("changed", seq, `entry ${seq} was changed: it is no leaf`);
    if (found.tenant !== this.studio) {
      throw new Finding("foreign", seq, `entry ${seq} is foreign: it is of studio ${found.tenant}`, found.id);
    }
    const hash = await leafHash(leaf);
    if (listed !== null && !same(hash, listed)) {
      throw new Finding("changed", seq, `entry ${seq} (${found.id}) was changed, or another one stood there`, found.id);
    }
    await this.#tree.push(hash);
    await this.#meet();
  }

  /** There are no more. */
  async end() {
    await this.#meet();
    const said = this.checkpoints.at(-1);
    if (said !== undefined) {
      const message = `the tail is cut: ${this.size} entries are there, ${said.size} were when ${said.source} was signed`;
      throw new Finding("cut tail", this.size, message);
    }
    return { entries: this.size, covered: this.covered, removed: this.removed, checkpoints: this.met };
  }

  async #meet() {
    let root = null;
    while (this.checkpoints[0]?.size === this.size) {
      const said = this.checkpoints.shift();
      root ??= await this.#tree.root();
      if (!same(said.root, root)) {
        const message = `the log was rewritten: entries ${this.covered} to ${this.size - 1} are not those of which ${said.source} was signed`;
        throw new Finding("rewritten", this.covered, message);
      }
      this.met += 1;
    }
    if (root !== null) this.covered = this.size;
  }
}

/** The path of a tile, or of a bundle (C2SP tlog-tiles). */
export function tilePath(level, n, width) {
  let path = String(n % 1000).padStart(3, "0");
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, "0")}/${path}`;
  }
  return `tile/${level}/${path}${width < TILE ? `.p/${width}` : ""}`;
}

/** The leaves of a bundle: each after its length in two bytes. */
export function leavesOf(bundle) {
  const leaves = [];
  for (let at = 0; at < bundle.length; ) {
    const length = (bundle[at] << 8) | bundle[at + 1];
    const leaf = bundle.slice(at + 2, at + 2 + length);
    if (leaf.length !== length) throw new Error("a bundle of entries is cut off");
    leaves.push(leaf);
    at += 2 + length;
  }
  return leaves;
}

/** The hashes of a tile. */
export function hashesOf(tile) {
  return Array.from({ length: Math.floor(tile.length / 32) }, (_, at) => tile.slice(32 * at, 32 * at + 32));
}

/** The tiles from one size to another: number, and how many of each there are. */
export function* tiles(from, until) {
  for (let n = Math.floor(from / TILE); n * TILE < until; n += 1) {
    yield { n, width: Math.min(TILE, until - n * TILE) };
  }
}
