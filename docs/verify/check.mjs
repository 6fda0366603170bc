// Checks a signed checkpoint and an inclusion proof with @sigstore/verify, the verifier of Sigstore's clients for npm;
// nothing here is of creditshare. It has no consistency proofs.
//
//   node check.mjs VKEY checkpoint NOTE
//   node check.mjs VKEY inclusion LEAF PROOF.json
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { verifyCheckpoint } = require('@sigstore/verify/dist/tlog/checkpoint.js');
const { verifyMerkleInclusion } = require('@sigstore/verify/dist/tlog/merkle.js');

const hold = (holds, otherwise) => {
  if (!holds) throw new Error(otherwise);
};
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

// The log's key, as the package wants it.
function log(vkey) {
  const [name, id, ...rest] = vkey.split('+');
  const key = Buffer.from(rest.join('+'), 'base64');
  hold(key.length === 33 && key[0] === 1, 'this is not an Ed25519 verifier key');
  hold(sha256(name, '\n', key).subarray(0, 4).toString('hex') === id, 'the key and its id differ');
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key.subarray(1)]);
  const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
  return { baseURL: name, logID: Buffer.from(id, 'hex'), publicKey };
}

// What the package leaves to its caller: the log's name, and that a hash is 32 bytes long.
function open(entry, known) {
  const checkpoint = verifyCheckpoint(entry, [known]);
  hold(checkpoint.origin === known.baseURL, 'the checkpoint is of another log');
  hold(checkpoint.logHash.length === 32, 'a hash is 32 bytes long');
  return checkpoint;
}

function decode(text) {
  const hash = Buffer.from(text, 'base64url');
  hold(hash.length === 32 && hash.toString('base64url') === text, 'a hash is 32 bytes long');
  return hash;
}

function check(vkey, what, ...files) {
  const known = log(vkey);
  if (what === 'checkpoint') {
    const entry = { inclusionProof: { checkpoint: { envelope: readFileSync(files[0], 'utf8') } } };
    return `signed ${open(entry, known).logSize} entries`;
  }
  const leaf = readFileSync(files[0]);
  const proof = JSON.parse(readFileSync(files[1], 'utf8'));
  const entry = {
    canonicalizedBody: leaf,
    inclusionProof: {
      logIndex: proof.index,
      hashes: proof.hashes.map(decode),
      checkpoint: { envelope: proof.checkpoint },
    },
  };
  const checkpoint = open(entry, known);
  hold(checkpoint.logSize === BigInt(proof.size), 'the proof is for another size than its checkpoint');
  hold(decode(proof.leaf_hash).equals(sha256('\0', leaf)), 'the proof is of another leaf');
  verifyMerkleInclusion(entry, checkpoint);
  return `the leaf is entry ${proof.index} of ${proof.size}`;
}

const given = process.argv.slice(2);
if (given.length !== { checkpoint: 3, inclusion: 4 }[given[1]]) {
  console.error('usage: see the first lines of this file');
  process.exit(2);
}
try {
  console.log('holds:', check(...given));
} catch (error) {
  console.error('does not hold:', error.message);
  process.exit(1);
}
