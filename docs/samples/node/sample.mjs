// A member of creditshare in one file: signs, makes a blind token, asks, and believes nothing it has not checked.
// § are the sections of docs/protocol.md. All cryptography is node:crypto's, but the arithmetic of P-256, which it
// does not offer: that is @noble/curves'. Left out: retries (§5), key rotation (§3), consistency of the log (§14).
//
//   openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out bank.pem
//   node sample.mjs enrol URL mem_… bank.pem pins.json < one-time-code
//   node sample.mjs ask bank.pem pins.json uscc IDENTIFIER signed-consent.pdf evidence.json
//   node sample.mjs vectors ../../vectors
import { createHash, createHmac, createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { p256, p256_hasher } from '@noble/curves/nist.js'

const { Point } = p256
const Scalar = Point.Fn

const must = (holds, what) => { if (!holds) throw new Error(what) }
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))

// --- §1 Encodings ---------------------------------------------------------------------------------------------

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const b64u = (bytes) => Buffer.from(bytes).toString('base64url')
const digestString = (bytes) => `sha-256=:${sha256(bytes).toString('base64')}:`

function unb64u(text) {
  const bytes = Buffer.from(text, 'base64url')
  must(b64u(bytes) === text, 'not base64url in its one spelling') // Buffer forgives padding and foreign characters
  return bytes
}

// --- §2 Keys, and the two directions of a JWS --------------------------------------------------------------------

const thumbprint = ({ crv, kty, x, y }) => b64u(sha256(JSON.stringify({ crv, kty, x, y })))

/** Our key: the private half, the public JWK to register, and its kid. */
function openKey(pem) {
  const secret = createPrivateKey(pem)
  const jwk = { ...createPublicKey(secret).export({ format: 'jwk' }), use: 'sig' }
  return { secret, jwk, kid: thumbprint(jwk) }
}

/** ES256 is R ‖ S, 64 bytes; node:crypto would write DER unless told otherwise. */
function makeJws(secret, header, payload) {
  const input = `${b64u(JSON.stringify(header))}.${b64u(JSON.stringify(payload))}`
  return `${input}.${b64u(sign('sha256', Buffer.from(input), { key: secret, dsaEncoding: 'ieee-p1363' }))}`
}

/** The claims of a JWS that one of the keys signed; alg and typ are what we expect, never what the message says. */
function openJws(keys, token, typ) {
  const parts = token.split('.')
  must(parts.length === 3, 'not a compact JWS')
  const header = JSON.parse(unb64u(parts[0]))
  must(header.alg === 'ES256' && header.typ === typ, 'alg or typ is another')
  const jwk = keys.find((one) => one.kid === header.kid)
  must(jwk && thumbprint(jwk) === jwk.kid, 'signed by a key that is not pinned')
  const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }
  must(verify('sha256', Buffer.from(`${parts[0]}.${parts[1]}`), key, unb64u(parts[2])), 'the signature does not hold')
  return JSON.parse(unb64u(parts[1]))
}

// --- §8 Tokens ----------------------------------------------------------------------------------------------------

const CONTEXT = Buffer.concat([Buffer.from('OPRFV1-'), Buffer.of(1), Buffer.from('-P256-SHA256')])
const dst = (name) => Buffer.concat([Buffer.from(name), CONTEXT])
const i2 = (number) => Buffer.of(number >> 8, number & 255)
const framed = (...parts) => Buffer.concat(parts.flatMap((part) => [i2(part.length), part]))
const hashToScalar = (...parts) => p256_hasher.hashToScalar(Buffer.concat(parts), { DST: dst('HashToScalar-') })
const encoded = (point) => Buffer.from(point.toBytes(true))

/** Normalised as everyone must, or the same borrower would get another token. Check digits are your front end's. */
function tokenInput(idType, identifier) {
  const plain = identifier.normalize('NFKC').replace(/\p{White_Space}/gu, '').toUpperCase()
  return Buffer.from(`creditshare/v1|${idType}|${plain}`)
}

const hashToPoint = (input) => p256_hasher.hashToCurve(input, { DST: dst('HashToGroup-') })

function element(bytes) {
  must(bytes.length === 33, 'an element has 33 bytes')
  return Point.fromBytes(bytes) // refuses what is not on the curve
}

/** A scalar in [1, n), uniform: draw again instead of reducing. */
function freshScalar() {
  for (;;) {
    const drawn = BigInt(`0x${randomBytes(32).toString('hex')}`)
    if (drawn > 0n && drawn < Scalar.ORDER) return drawn
  }
}

/** RFC 9497 §2.2.2: one proof for the whole batch. All its numbers are public, so it need not hide their timing. */
function proofHolds(publicKey, blinded, evaluated, proof) {
  if (proof.length !== 64) return false
  const [c, s] = [proof.subarray(0, 32), proof.subarray(32)].map((half) => BigInt(`0x${half.toString('hex')}`))
  if (c >= Scalar.ORDER || s >= Scalar.ORDER) return false
  const seed = sha256(framed(publicKey, dst('Seed-')))
  let [m, z] = [Point.ZERO, Point.ZERO]
  blinded.forEach((one, i) => {
    const weight = hashToScalar(framed(seed), i2(i), framed(one, evaluated[i]), Buffer.from('Composite'))
    m = m.add(element(one).multiplyUnsafe(weight))
    z = z.add(element(evaluated[i]).multiplyUnsafe(weight))
  })
  const t2 = Point.BASE.multiplyUnsafe(s).add(element(publicKey).multiplyUnsafe(c))
  const t3 = m.multiplyUnsafe(s).add(z.multiplyUnsafe(c))
  return c === hashToScalar(framed(publicKey, ...[m, z, t2, t3].map(encoded)), Buffer.from('Challenge'))
}

/** N = blind⁻¹ · evaluated, and no further: RFC 9497's Finalize would hash once more; left out here. */
const unblind = (blind, evaluated) => encoded(element(evaluated).multiply(Scalar.inv(blind)))

// --- §6, §12, §13 Answer, leaf, receipt ---------------------------------------------------------------------------

const commitment = (group, salt, payload) =>
  b64u(createHmac('sha256', unb64u(salt)).update(`creditshare/audit/v1/${group}\0`).update(payload).digest())
const leafHash = (leaf) => sha256(Buffer.of(0), leaf)

/** Check an answer against what we asked and the bytes we got; return its receipt, if the exchange is an event. */
function checkAnswer(pins, answer, rqh, requestBody) {
  const claims = openJws(pins.jwks.keys, answer.jws, 'cs-res+jwt')
  const expected = {
    iss: pins.discovery.issuer, aud: pins.member_id, rqh, sts: answer.status, cdg: digestString(answer.body),
  }
  for (const [name, value] of Object.entries(expected)) must(claims[name] === value, `the answer's ${name} is another`)
  if (claims.log) checkReceipt(claims.log, rqh, requestBody, answer.body)
  return claims.log
}

function checkReceipt(log, rqh, requestBody, answerBody) {
  const leaf = JSON.parse(log.leaf)
  must(b64u(leafHash(log.leaf)) === log.leaf_hash, 'leaf_hash is not the hash of the leaf')
  must(`evt_${leaf.id}` === log.event_id, 'the leaf is of another event')
  must(commitment('meta', log.s_meta, log.meta) === leaf.c_meta, 'meta is not what the leaf commits to')
  const body = JSON.stringify({ // in this order it is canonical JSON
    answer_digest: digestString(answerBody), request_body_digest: digestString(requestBody), rqh,
  })
  must(commitment('body', log.s_body, body) === leaf.c_body, 'the leaf commits to another exchange')
}

// --- §14 Checkpoint and inclusion ---------------------------------------------------------------------------------

function openCheckpoint(note, vkey) {
  const [name, keyId, ...rest] = vkey.split('+') // base64 may hold a plus sign, a name may not
  const key = Buffer.from(rest.join('+'), 'base64')
  must(key[0] === 1 && key.length === 33, 'the log key is no Ed25519 key')
  must(sha256(`${name}\n`, key).toString('hex', 0, 4) === keyId, 'the log key does not match its id')
  const end = note.indexOf('\n\n') + 1
  const text = note.slice(0, end)
  const line = note.slice(end + 1).split('\n').find((one) => one.startsWith(`\u2014 ${name} `))
  must(line, 'the checkpoint is not signed by the log')
  const blob = Buffer.from(line.split(' ')[2], 'base64')
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: b64u(key.subarray(1)) }
  const signed = verify(null, Buffer.from(text), createPublicKey({ key: jwk, format: 'jwk' }), blob.subarray(4))
  must(blob.toString('hex', 0, 4) === keyId && signed, "the checkpoint's signature does not hold")
  const [origin, size, root] = text.split('\n')
  must(origin === name, 'the checkpoint is of another log')
  return { size: Number(size), root: Buffer.from(root, 'base64') }
}

/** RFC 9162 §2.1.3.2, letter by letter. */
function checkInclusion(proof, vkey, leaf) {
  const { size, root } = openCheckpoint(proof.checkpoint, vkey)
  let hash = leafHash(leaf) // of our own leaf, not the one that the proof names
  must(b64u(hash) === proof.leaf_hash && size === proof.size, 'the proof is for another leaf or checkpoint')
  must(Number.isSafeInteger(proof.index) && proof.index >= 0 && proof.index < size, 'the index lies outside the tree')
  let [fn, sn] = [BigInt(proof.index), BigInt(size - 1)]
  for (const p of proof.hashes.map(unb64u)) {
    must(sn > 0n, 'the proof is too long')
    if (fn & 1n || fn === sn) {
      hash = sha256(Buffer.of(1), p, hash)
      while (!(fn & 1n) && fn > 0n) { fn >>= 1n; sn >>= 1n }
    } else {
      hash = sha256(Buffer.of(1), hash, p)
    }
    fn >>= 1n
    sn >>= 1n
  }
  must(sn === 0n && hash.equals(root), 'the hashes do not lead to the root')
}

// --- §3, §4 Requests ----------------------------------------------------------------------------------------------

/** What every token of ours says. */
function claims(pins, seconds) {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss: pins.member_id, aud: pins.discovery.issuer, iat: now, exp: now + seconds, jti: b64u(randomBytes(18)),
  }
}

async function send(pins, method, path, headers, body) {
  const got = await fetch(pins.url + path, { method, headers, body, redirect: 'error' })
  return {
    status: got.status, jws: got.headers.get('CS-Signature'), body: Buffer.from(await got.arrayBuffer()),
    retryAfter: Number(got.headers.get('Retry-After')),
  }
}

/** An answer that holds, or an error with the refusal's code (§7); an unsigned refusal binds nobody. */
function opened(pins, answer, rqh, requestBody) {
  if (!answer.jws) throw new Error(`${answer.status}, not signed: ${answer.body}`)
  const log = checkAnswer(pins, answer, rqh, requestBody)
  if (answer.status >= 400) throw new Error(`refused: ${answer.body}`)
  return log
}

/** §4: a signed call. The body is made once, and the very same bytes are hashed and sent. */
async function call(pins, key, method, path, value, idempotencyKey) {
  const body = Buffer.from(JSON.stringify(value))
  const headers = { 'Content-Type': 'application/json' }
  const payload = {
    ...claims(pins, 60), sub: 'system:sample', htm: method, htu: pins.discovery.issuer + path,
    cdg: digestString(body), ver: '1',
  }
  if (idempotencyKey) payload.idk = headers['Idempotency-Key'] = idempotencyKey
  const jws = makeJws(key.secret, { alg: 'ES256', typ: 'cs-req+jwt', kid: key.kid }, payload)
  headers.Authorization = `Bearer ${jws}`
  const answer = await send(pins, method, path, headers, body)
  const log = opened(pins, answer, b64u(sha256(jws)), body)
  return { request: { jws, body }, answer, log, data: JSON.parse(answer.body) }
}

async function enrol(url, memberId, keyFile, pinsFile) {
  const key = openKey(readFileSync(keyFile))
  const get = async (path) => (await fetch(url + path, { redirect: 'error' })).json()
  const pins = {
    url, member_id: memberId,
    discovery: await get('/.well-known/creditshare'), jwks: await get('/.well-known/jwks.json'),
  }
  const proof = makeJws(key.secret, { alg: 'ES256', typ: 'cs-keyreg+jwt', jwk: key.jwk }, {
    ...claims(pins, 120), jkt: key.kid,
  })
  const code = readFileSync(0, 'utf8').trim() // from standard input: arguments are seen by every user of the machine
  const body = Buffer.from(JSON.stringify({ jwk: key.jwk, proof, enrolment_code: code }))
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': `enrol-${key.kid}` }
  opened(pins, await send(pins, 'POST', `/v1/members/${memberId}/keys`, headers, body), b64u(sha256(proof)), body)
  writeFileSync(pinsFile, JSON.stringify(pins, null, 2))
  console.log(`key ${key.kid} is registered. Compare what was pinned with what the operator told you on paper:`)
  console.log(`  issuer ${pins.discovery.issuer}\n  log    ${pins.discovery.log.vkey}`)
  for (const suite of pins.discovery.tokens.suites) console.log(`  tokens ${suite.key_version} ${suite.public_key}`)
}

/** §8, for one borrower; up to 256 go in one call. */
async function makeToken(pins, key, idType, identifier) {
  const suite = pins.discovery.tokens.suites.find((one) => one.current)
  const named = { suite: suite.suite, key_version: suite.key_version }
  const blind = freshScalar()
  const blinded = encoded(hashToPoint(tokenInput(idType, identifier)).multiply(blind))
  const { data } = await call(pins, key, 'POST', '/v1/tokens/evaluate', { ...named, blinded: [b64u(blinded)] })
  const evaluated = unb64u(data.evaluated[0])
  must(proofHolds(unb64u(suite.public_key), [blinded], [evaluated], unb64u(data.proof)), 'the proof does not hold')
  return { ...named, element: b64u(unblind(blind, evaluated)) }
}

/** §14: the promised leaf, once it is in the tree. */
async function proveInclusion(pins, log) {
  for (const end = Date.now() + log.mmd * 1000; ; ) {
    const got = await send(pins, 'GET', `/audit/v1/proof/inclusion?event_id=${log.event_id}`)
    const told = JSON.parse(got.body)
    if (got.status === 200) {
      checkInclusion(told, pins.discovery.log.vkey, log.leaf)
      return told
    }
    must(told.code === 'not_integrated_yet' && Date.now() < end, `no proof within ${log.mmd} s: ${got.body}`)
    await new Promise((resolve) => setTimeout(resolve, 1000 * (got.retryAfter || 1)))
  }
}

async function ask(keyFile, pinsFile, idType, identifier, document, evidenceFile) {
  const [key, pins] = [openKey(readFileSync(keyFile)), readJson(pinsFile)]
  const subject = await makeToken(pins, key, idType, identifier)

  // §9. Keep the salt with the document: only both together show what was digested.
  const instant = (days) => new Date(Date.now() + days * 86_400_000).toISOString()
  const salt = randomBytes(32)
  const consent = await call(pins, key, 'POST', '/v1/consents', {
    kind: 'query', subject, purposes: ['pre_loan'], scopes: ['defaults'], valid_from: instant(0),
    valid_until: instant(30), max_uses: 1,
    evidence: {
      digest: digestString(Buffer.concat([salt, readFileSync(document)])), channel: 'paper', signed_at: instant(0),
    },
  }, `consent-${b64u(randomBytes(12))}`)
  openJws(pins.jwks.keys, consent.data.consent_receipt, 'cs-consent+jwt')

  const question = { subject, purpose: 'pre_loan', consent_id: consent.data.consent_id, scopes: ['defaults'] }
  const asked = await call(pins, key, 'POST', '/v1/queries', question, `query-${b64u(randomBytes(12))}`)
  const proof = await proveInclusion(pins, asked.log)

  // §15. What to keep: `creditshare verify-evidence` reads it, offline, years later.
  const half = ({ jws, body }) => ({ jws, body: body.toString('base64') })
  writeFileSync(evidenceFile, JSON.stringify({
    kind: 'creditshare-evidence/v1', issuer: pins.discovery.issuer,
    request: half(asked.request), answer: { status: asked.answer.status, ...half(asked.answer) },
    member_jwk: { ...key.jwk, kid: key.kid }, service_jwks: pins.jwks, log_vkey: pins.discovery.log.vkey, proof,
  }))
  console.log(JSON.stringify({
    element: subject.element, consent_id: question.consent_id, consent_salt: b64u(salt), answer: asked.data,
    event_id: asked.log.event_id, leaf_index: proof.index, tree_size: proof.size,
  }, null, 2))
}

// --- The published vectors ----------------------------------------------------------------------------------------

function vectors(folder) {
  const load = (name) => readJson(`${folder}/${name}.json`)
  const hex = (text) => Buffer.from(text, 'hex')
  const [keys, blinding, proof, tokens, log] =
    ['01-keys', '04-blind', '06-proof', '07-token', '13-log'].map(load)
  for (const member of Object.values(keys.members)) must(thumbprint(member.private_jwk) === member.kid, '01')

  blinding.inputs.forEach(({ id_type, identifier, input, point, blind, blinded }, i) => {
    must(tokenInput(id_type, identifier).toString() === input, '04 input')
    const made = hashToPoint(Buffer.from(input))
    must(encoded(made).toString('hex') === point, '04 point')
    must(encoded(made.multiply(BigInt(`0x${blind}`))).toString('hex') === blinded, '04 blinded')
    const token = unblind(BigInt(`0x${blind}`), hex(proof.evaluated[i]))
    must(b64u(token) === tokens.tokens[i].subject.element, '07')
  })
  const batch = [hex(proof.public_key), proof.blinded.map(hex), proof.evaluated.map(hex)]
  must(proofHolds(...batch, hex(proof.proof)), '06')
  must(!proofHolds(batch[0], batch[1], batch[2].toReversed(), hex(proof.proof)), '06 takes any proof')

  for (const name of ['03-enrolment', '05-evaluate', '08-consent', '09-record', '10-query', '11-query-again',
    '12-query-refused']) {
    const { request, answer } = load(name)
    const member = Object.values(keys.members).find((one) =>
      one.member_id === JSON.parse((request.jws ?? request.proof).payload).iss)
    const sent = (request.jws ?? request.proof).compact
    if (request.jws) openJws([member.private_jwk], sent, 'cs-req+jwt')
    const pins = { member_id: member.member_id, jwks: keys.jwks, discovery: { issuer: keys.issuer } }
    const got = { status: answer.status, jws: answer.jws.compact, body: Buffer.from(answer.body) }
    must(b64u(sha256(sent)) === request.rqh, name)
    checkAnswer(pins, got, request.rqh, Buffer.from(request.body))
  }
  for (const [size, note] of Object.entries(log.checkpoints)) {
    const opened = openCheckpoint(note, log.vkey)
    must(opened.size === Number(size) && b64u(opened.root) === log.roots[size], '13 checkpoint')
  }
  checkInclusion(log.inclusion, log.vkey, log.leaves[log.inclusion.index].leaf)
  console.log('all vectors hold')
}

const [command, ...rest] = process.argv.slice(2)
const commands = { enrol, ask, vectors }
if (!Object.hasOwn(commands, command) || rest.length !== commands[command].length) {
  console.error('usage: see the first lines of this file')
  process.exit(2)
}
try {
  await commands[command](...rest)
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
