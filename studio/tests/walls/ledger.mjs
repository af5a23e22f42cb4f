// The browser's verifier on the vectors that every verifier is held to, and on each of them bent. Run by
// `browser_verifier.rs`: node ledger.mjs <ledger.js> <ledger.json>

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const [script, path] = process.argv.slice(2);
const { Disbelieved, Finding, Tree, Verifier, chainHash, hashesOf, hex, leafHash, leavesOf, openNote, openStub, readKey, tilePath, tiles } =
  await import(script);
const vectors = JSON.parse(readFileSync(path, "utf8"));
const bytes = (text) => new TextEncoder().encode(text);
const keys = await Promise.all(vectors.keys.map(readKey));
const open = (note) => openNote(note, vectors.origin, keys, "the vector");

// Every hash, root and note is what the writer made.
const [tree, listed] = [new Tree(), []];
let chain = new Uint8Array(32);
assert.equal(hex(await tree.root()), vectors.sizes[0].root);
for (const { leaf, hash, chain: link, root, note } of vectors.sizes.slice(1)) {
  const computed = await leafHash(bytes(leaf));
  chain = await chainHash(chain, computed);
  await tree.push(computed);
  assert.deepEqual([hex(computed), hex(chain), hex(await tree.root())], [hash, link, root]);
  const said = await open(note);
  assert.deepEqual([said.size, hex(said.root)], [tree.size, root]);
  listed.push({ leaf, hash: computed });
}
assert.equal(tree.size, 7);

// What is not to be believed is not.
for (const { why, note } of vectors.not_believed) await assert.rejects(open(note), Disbelieved, why);
for (const key of ["", "a+b", "name+00000000+AQ==", vectors.keys[0].replaceAll("+", "-"), vectors.keys[0].replace("+", "+0")]) {
  await assert.rejects(readKey(key), key);
}

// Each kind of tampering is named.
async function verify(entries, { studio = vectors.studio, hashes = true } = {}) {
  const said = [await open(vectors.sizes[3].note), await open(vectors.sizes[7].note)];
  const verifier = new Verifier(studio, said);
  for (const { leaf, hash } of entries) await verifier.entry(bytes(leaf), hashes ? hash : null);
  return verifier.end();
}
const bent = (bend) => {
  const entries = structuredClone(listed);
  bend(entries);
  return entries;
};
async function found(entries, options) {
  const finding = await verify(entries, options).then(() => assert.fail("nothing was found"), (error) => error);
  assert.ok(finding instanceof Finding, String(finding));
  return [finding.kind, finding.seq];
}
assert.deepEqual(await verify(listed), { entries: 7, covered: 7, removed: 0, checkpoints: 2 });
const changed = bent((entries) => (entries[1].leaf = entries[1].leaf.replace("view", "v")));
assert.deepEqual(await found(changed), ["changed", 1]);
assert.deepEqual(await found(changed, { hashes: false }), ["rewritten", 0]);
const later = bent((entries) => (entries[5].leaf = entries[5].leaf.replace("view", "v")));
assert.deepEqual(await found(later, { hashes: false }), ["rewritten", 3]);
assert.deepEqual(await found(bent((entries) => entries.splice(4, 1)), { hashes: false }), ["cut tail", 6]);
assert.deepEqual(await found(bent((entries) => entries.splice(1))), ["cut tail", 1]);
assert.deepEqual(await found(bent((entries) => (entries[6].leaf = ""))), ["changed", 6]);
assert.deepEqual(await found(listed, { studio: "another" }), ["foreign", 0]);

// What was removed has a stub from which the rest goes on.
const { like, stub, note, size, not_believed } = vectors.removed;
const openTheStub = (text) => openStub(text, vectors.origin, keys, "the stub");
async function rest(from, until) {
  const verifier = new Verifier(vectors.studio, [await open(note)], await openTheStub(stub));
  for (let n = from; n < until; n += 1) await verifier.entry(bytes(like.replace("#", n)));
  return verifier.end();
}
assert.deepEqual(await rest(768, size), { entries: 770, covered: 770, removed: 768, checkpoints: 2 });
await assert.rejects(rest(768, 769), { kind: "cut tail" });
await assert.rejects(rest(767, 769), { kind: "rewritten", seq: 768 });
for (const { why, note } of not_believed) await assert.rejects(openTheStub(note), Disbelieved, why);

// Tiles lie where C2SP says.
assert.equal(tilePath("0", 5, 256), "tile/0/005");
assert.equal(tilePath("entries", 1_234_067, 17), "tile/entries/x001/x234/067.p/17");
assert.deepEqual([...tiles(512, 600)], [{ n: 2, width: 88 }]);
assert.deepEqual([...tiles(0, 512)], [{ n: 0, width: 256 }, { n: 1, width: 256 }]);
assert.deepEqual(leavesOf(new Uint8Array([0, 2, 7, 8, 0, 1, 9])), [new Uint8Array([7, 8]), new Uint8Array([9])]);
assert.throws(() => leavesOf(new Uint8Array([0, 2, 7])));
assert.equal(hashesOf(new Uint8Array(64)).length, 2);
console.log("verified");
