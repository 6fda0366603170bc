// A member of creditshare in one file, with nothing but the JDK (17 or newer): signs, makes a blind token, asks, and
// believes nothing it has not checked. § are the sections of docs/protocol.md. Left out: retries (§5), key rotation
// (§3), consistency of the log (§14).
//
//   openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out bank.pem
//   java Sample.java enrol URL mem_… bank.pem pins.json < one-time-code
//   java Sample.java ask bank.pem pins.json uscc IDENTIFIER signed-consent.pdf evidence.json
//   java Sample.java vectors ../../vectors
//
// The JDK signs and hashes, but offers neither JSON nor the curve's arithmetic; both stand at the end, plain and short.
// BigInteger does not hide its timing: in production take a vetted library's P-256 for blinding and unblinding.

import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.text.Normalizer;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Sample {
    static final SecureRandom RANDOM = new SecureRandom();
    static final HttpClient HTTP = HttpClient.newBuilder() // follows no redirects
        .version(HttpClient.Version.HTTP_1_1).build(); // or it would offer an upgrade, which §4 forbids

    static void must(boolean holds, String what) {
        if (!holds) throw new IllegalStateException(what);
    }

    // --- §1 Encodings ---------------------------------------------------------------------------------------------

    static byte[] utf8(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static byte[] join(byte[]... parts) {
        int length = Arrays.stream(parts).mapToInt(part -> part.length).sum();
        ByteBuffer whole = ByteBuffer.allocate(length);
        for (byte[] part : parts) whole.put(part);
        return whole.array();
    }

    static byte[] sha256(byte[]... parts) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(join(parts));
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    static String b64u(byte[] bytes) { return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes); }

    static byte[] unb64u(String text) {
        byte[] bytes = Base64.getUrlDecoder().decode(text);
        must(b64u(bytes).equals(text), "not base64url in its one spelling");
        return bytes;
    }

    static String digestString(byte[] bytes) {
        return "sha-256=:" + Base64.getEncoder().encodeToString(sha256(bytes)) + ":";
    }

    static byte[] random(int count) {
        byte[] bytes = new byte[count];
        RANDOM.nextBytes(bytes);
        return bytes;
    }

    // --- §2 Keys, and the two directions of a JWS -----------------------------------------------------------------

    record Key(PrivateKey secret, Map<String, Object> jwk, String kid) {}

    static String thumbprint(Map<String, Object> jwk) {
        return b64u(sha256(utf8("{\"crv\":\"%s\",\"kty\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}"
            .formatted(jwk.get("crv"), jwk.get("kty"), jwk.get("x"), jwk.get("y")))));
    }

    /** Our key from PKCS #8. OpenSSL writes the public point, 04 ‖ x ‖ y, at its end (RFC 5915 §3). */
    static Key openKey(String file) throws Exception {
        String pem = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----|\\s", "");
        byte[] der = Base64.getDecoder().decode(pem);
        byte[] point = Arrays.copyOfRange(der, der.length - 65, der.length);
        must(point[0] == 4, "the key file does not hold its public half");
        Map<String, Object> jwk = object("kty", "EC", "crv", "P-256", "use", "sig",
            "x", b64u(Arrays.copyOfRange(point, 1, 33)), "y", b64u(Arrays.copyOfRange(point, 33, 65)));
        PrivateKey secret = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
        return new Key(secret, jwk, thumbprint(jwk));
    }

    /** ES256 is R ‖ S, 64 bytes: the JDK calls it P1363. */
    static String makeJws(PrivateKey secret, Map<String, Object> header, Map<String, Object> payload) throws Exception {
        String input = b64u(utf8(Json.write(header))) + "." + b64u(utf8(Json.write(payload)));
        Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format");
        signature.initSign(secret);
        signature.update(utf8(input));
        return input + "." + b64u(signature.sign());
    }

    /** The claims of a JWS that one of the keys signed; alg and typ are what we expect, never what the message says. */
    static Map<String, Object> openJws(List<Object> keys, String token, String typ) throws Exception {
        String[] parts = token.split("\\.", -1);
        must(parts.length == 3, "not a compact JWS");
        Map<String, Object> header = map(Json.read(unb64u(parts[0])));
        must("ES256".equals(header.get("alg")) && typ.equals(header.get("typ")), "alg or typ is another");
        Map<String, Object> jwk = keys.stream().map(Sample::map)
            .filter(one -> one.get("kid").equals(header.get("kid"))).findFirst()
            .orElseThrow(() -> new IllegalStateException("signed by a key that is not pinned"));
        must(thumbprint(jwk).equals(jwk.get("kid")), "kid is not the key's thumbprint");
        Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format");
        signature.initVerify(publicKey(jwk));
        signature.update(utf8(parts[0] + "." + parts[1]));
        must(signature.verify(unb64u(parts[2])), "the signature does not hold");
        return map(Json.read(unb64u(parts[1])));
    }

    static PublicKey publicKey(Map<String, Object> jwk) throws Exception {
        AlgorithmParameters curve = AlgorithmParameters.getInstance("EC");
        curve.init(new ECGenParameterSpec("secp256r1"));
        ECPoint point = new ECPoint(number(unb64u(text(jwk, "x"))), number(unb64u(text(jwk, "y"))));
        return KeyFactory.getInstance("EC")
            .generatePublic(new ECPublicKeySpec(point, curve.getParameterSpec(ECParameterSpec.class)));
    }

    // --- §8 Tokens ------------------------------------------------------------------------------------------------

    static final byte[] CONTEXT = utf8("OPRFV1-\u0001-P256-SHA256");

    static byte[] i2(int number) { return new byte[] {(byte) (number >> 8), (byte) number}; }

    static byte[] framed(byte[]... parts) {
        return join(Arrays.stream(parts).map(part -> join(i2(part.length), part)).toArray(byte[][]::new));
    }

    /** Normalised as everyone must, or the same borrower would get another token. Check digits are your front end's. */
    static byte[] tokenInput(String idType, String identifier) {
        String plain = Normalizer.normalize(identifier, Normalizer.Form.NFKC)
            .replaceAll("\\p{IsWhite_Space}", "").toUpperCase(Locale.ROOT);
        return utf8("creditshare/v1|" + idType + "|" + plain);
    }

    static Point hashToPoint(byte[] input) { return Point.hash(input, join(utf8("HashToGroup-"), CONTEXT)); }

    static BigInteger hashToScalar(byte[]... parts) {
        return number(Point.expand(join(parts), join(utf8("HashToScalar-"), CONTEXT), 48)).mod(Point.N);
    }

    /** A scalar in [1, n), uniform: draw again instead of reducing. */
    static BigInteger freshScalar() {
        for (;;) {
            BigInteger drawn = new BigInteger(256, RANDOM);
            if (drawn.signum() > 0 && drawn.compareTo(Point.N) < 0) return drawn;
        }
    }

    /** RFC 9497 §2.2.2: one proof for the whole batch. */
    static boolean proofHolds(byte[] publicKey, List<byte[]> blinded, List<byte[]> evaluated, byte[] proof) {
        if (proof.length != 64 || blinded.size() != evaluated.size()) return false;
        BigInteger c = number(Arrays.copyOf(proof, 32));
        BigInteger s = number(Arrays.copyOfRange(proof, 32, 64));
        if (c.compareTo(Point.N) >= 0 || s.compareTo(Point.N) >= 0) return false;
        byte[] seed = sha256(framed(publicKey, join(utf8("Seed-"), CONTEXT)));
        Point m = Point.ZERO;
        Point z = Point.ZERO;
        for (int i = 0; i < blinded.size(); i++) {
            BigInteger weight = hashToScalar(
                framed(seed), i2(i), framed(blinded.get(i), evaluated.get(i)), utf8("Composite"));
            m = m.plus(Point.decode(blinded.get(i)).times(weight));
            z = z.plus(Point.decode(evaluated.get(i)).times(weight));
        }
        Point t2 = Point.G.times(s).plus(Point.decode(publicKey).times(c));
        Point t3 = m.times(s).plus(z.times(c));
        return c.equals(hashToScalar(
            framed(publicKey, m.encode(), z.encode(), t2.encode(), t3.encode()), utf8("Challenge")));
    }

    /** N = blind⁻¹ · evaluated, and no further: RFC 9497's Finalize would hash once more; left out here. */
    static byte[] unblind(BigInteger blind, byte[] evaluated) {
        return Point.decode(evaluated).times(blind.modInverse(Point.N)).encode();
    }

    // --- §6, §12, §13 Answer, leaf, receipt -----------------------------------------------------------------------

    record Answer(int status, String jws, byte[] body, long retryAfter) {}

    static String commitment(String group, String salt, String payload) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(unb64u(salt), "HmacSHA256"));
        return b64u(mac.doFinal(utf8("creditshare/audit/v1/" + group + "\0" + payload)));
    }

    static byte[] leafHash(String leaf) { return sha256(new byte[] {0}, utf8(leaf)); }

    /** Check an answer against what we asked and the bytes we got; return its receipt, or null if it is no event. */
    static Map<String, Object> checkAnswer(Map<String, Object> pins, Answer answer, String rqh, byte[] requestBody)
            throws Exception {
        Map<String, Object> claims = openJws(list(map(pins.get("jwks")).get("keys")), answer.jws(), "cs-res+jwt");
        Map<String, Object> expected = object("iss", map(pins.get("discovery")).get("issuer"), "aud",
            pins.get("member_id"), "rqh", rqh, "sts", (long) answer.status(), "cdg", digestString(answer.body()));
        expected.forEach((name, value) -> must(value.equals(claims.get(name)), "the answer's " + name + " is another"));
        if (claims.get("log") == null) return null;
        Map<String, Object> log = map(claims.get("log"));
        checkReceipt(log, rqh, requestBody, answer.body());
        return log;
    }

    static void checkReceipt(Map<String, Object> log, String rqh, byte[] requestBody, byte[] answerBody)
            throws Exception {
        Map<String, Object> leaf = map(Json.read(utf8(text(log, "leaf"))));
        must(b64u(leafHash(text(log, "leaf"))).equals(log.get("leaf_hash")), "leaf_hash is not the hash of the leaf");
        must(("evt_" + leaf.get("id")).equals(log.get("event_id")), "the leaf is of another event");
        must(commitment("meta", text(log, "s_meta"), text(log, "meta")).equals(leaf.get("c_meta")),
            "meta is not what the leaf commits to");
        String body = Json.write(object( // in this order it is canonical JSON
            "answer_digest", digestString(answerBody), "request_body_digest", digestString(requestBody), "rqh", rqh));
        must(commitment("body", text(log, "s_body"), body).equals(leaf.get("c_body")),
            "the leaf commits to another exchange");
    }

    // --- §14 Checkpoint and inclusion -----------------------------------------------------------------------------

    record Checkpoint(long size, byte[] root) {}

    static Checkpoint openCheckpoint(String note, String vkey) throws Exception {
        String[] parts = vkey.split("\\+", 3); // base64 may hold a plus sign, a name may not
        byte[] key = Base64.getDecoder().decode(parts[2]);
        must(key.length == 33 && key[0] == 1, "the log key is no Ed25519 key");
        byte[] keyId = Arrays.copyOf(sha256(utf8(parts[0] + "\n"), key), 4);
        must(Arrays.equals(keyId, HexFormat.of().parseHex(parts[1])), "the log key does not match its id");
        int end = note.indexOf("\n\n") + 1;
        String text = note.substring(0, end);
        String line = note.substring(end + 1).lines().filter(one -> one.startsWith("\u2014 " + parts[0] + " "))
            .findFirst().orElseThrow(() -> new IllegalStateException("the checkpoint is not signed by the log"));
        byte[] blob = Base64.getDecoder().decode(line.split(" ")[2]);
        byte[] spki = join(HexFormat.of().parseHex("302a300506032b6570032100"), Arrays.copyOfRange(key, 1, 33));
        Signature signature = Signature.getInstance("Ed25519");
        signature.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(spki)));
        signature.update(utf8(text));
        must(Arrays.equals(Arrays.copyOf(blob, 4), keyId)
            && signature.verify(Arrays.copyOfRange(blob, 4, blob.length)), "the checkpoint's signature does not hold");
        String[] lines = text.split("\n");
        must(lines[0].equals(parts[0]), "the checkpoint is of another log");
        return new Checkpoint(Long.parseLong(lines[1]), Base64.getDecoder().decode(lines[2]));
    }

    /** RFC 9162 §2.1.3.2, letter by letter. */
    static void checkInclusion(Map<String, Object> proof, String vkey, String leaf) throws Exception {
        Checkpoint checkpoint = openCheckpoint(text(proof, "checkpoint"), vkey);
        byte[] hash = leafHash(leaf); // of our own leaf, not the one that the proof names
        long index = (Long) proof.get("index");
        must(b64u(hash).equals(proof.get("leaf_hash")) && proof.get("size").equals(checkpoint.size()),
            "the proof is for another leaf or checkpoint");
        must(index >= 0 && index < checkpoint.size(), "the index lies outside the tree");
        long fn = index;
        long sn = checkpoint.size() - 1;
        for (Object one : list(proof.get("hashes"))) {
            byte[] p = unb64u((String) one);
            must(sn > 0, "the proof is too long");
            if ((fn & 1) == 1 || fn == sn) {
                hash = sha256(new byte[] {1}, p, hash);
                while ((fn & 1) == 0 && fn > 0) { fn >>= 1; sn >>= 1; }
            } else {
                hash = sha256(new byte[] {1}, hash, p);
            }
            fn >>= 1;
            sn >>= 1;
        }
        must(sn == 0 && Arrays.equals(hash, checkpoint.root()), "the hashes do not lead to the root");
    }

    // --- §3, §4 Requests ------------------------------------------------------------------------------------------

    record Exchange(String requestJws, byte[] requestBody, Answer answer, Map<String, Object> log,
        Map<String, Object> data) {}

    /** What every token of ours says. */
    static Map<String, Object> claims(Map<String, Object> pins, long seconds) {
        long now = Instant.now().getEpochSecond();
        return object("iss", pins.get("member_id"), "aud", map(pins.get("discovery")).get("issuer"), "iat", now,
            "exp", now + seconds, "jti", b64u(random(18)));
    }

    static Answer send(String url, String method, Map<String, String> headers, byte[] body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).method(method,
            body.length == 0 ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body));
        headers.forEach(request::header);
        HttpResponse<byte[]> got = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        return new Answer(got.statusCode(), got.headers().firstValue("CS-Signature").orElse(null), got.body(),
            got.headers().firstValueAsLong("Retry-After").orElse(1));
    }

    /** Check an answer; a refusal becomes an error with its code (§7), and an unsigned one binds nobody. */
    static Map<String, Object> opened(Map<String, Object> pins, Answer answer, String rqh, byte[] requestBody)
            throws Exception {
        String told = new String(answer.body(), StandardCharsets.UTF_8);
        must(answer.jws() != null, answer.status() + ", not signed: " + told);
        Map<String, Object> log = checkAnswer(pins, answer, rqh, requestBody);
        must(answer.status() < 400, "refused: " + told);
        return log;
    }

    /** §4: a signed call. The body is made once, and the very same bytes are hashed and sent. */
    static Exchange call(Map<String, Object> pins, Key key, String path, Map<String, Object> value,
            String idempotencyKey) throws Exception {
        byte[] body = utf8(Json.write(value));
        Map<String, String> headers = new LinkedHashMap<>(Map.of("Content-Type", "application/json"));
        Map<String, Object> payload = claims(pins, 60);
        payload.putAll(object("sub", "system:sample", "htm", "POST", "htu", payload.get("aud") + path,
            "cdg", digestString(body), "ver", "1"));
        if (idempotencyKey != null) {
            payload.put("idk", idempotencyKey);
            headers.put("Idempotency-Key", idempotencyKey);
        }
        String jws = makeJws(key.secret(), object("alg", "ES256", "typ", "cs-req+jwt", "kid", key.kid()), payload);
        headers.put("Authorization", "Bearer " + jws);
        Answer answer = send(text(pins, "url") + path, "POST", headers, body);
        Map<String, Object> log = opened(pins, answer, b64u(sha256(utf8(jws))), body);
        return new Exchange(jws, body, answer, log, map(Json.read(answer.body())));
    }

    static void enrol(String url, String memberId, String keyFile, String pinsFile) throws Exception {
        Key key = openKey(keyFile);
        Map<String, Object> pins = object("url", url, "member_id", memberId,
            "discovery", Json.read(send(url + "/.well-known/creditshare", "GET", Map.of(), new byte[0]).body()),
            "jwks", Json.read(send(url + "/.well-known/jwks.json", "GET", Map.of(), new byte[0]).body()));
        Map<String, Object> payload = claims(pins, 120);
        payload.put("jkt", key.kid());
        String proof = makeJws(key.secret(), object("alg", "ES256", "typ", "cs-keyreg+jwt", "jwk", key.jwk()), payload);
        // From standard input: arguments are seen by every user of the machine.
        String code = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).strip();
        byte[] body = utf8(Json.write(object("jwk", key.jwk(), "proof", proof, "enrolment_code", code)));
        Map<String, String> headers = Map.of(
            "Content-Type", "application/json", "Idempotency-Key", "enrol-" + key.kid());
        Answer answer = send(url + "/v1/members/" + memberId + "/keys", "POST", headers, body);
        opened(pins, answer, b64u(sha256(utf8(proof))), body);
        Files.writeString(Path.of(pinsFile), Json.write(pins));
        Map<String, Object> discovery = map(pins.get("discovery"));
        System.out.println("key " + key.kid() + " is registered. Compare what was pinned with the operator's paper:");
        System.out.println("  issuer " + discovery.get("issuer"));
        System.out.println("  log    " + map(discovery.get("log")).get("vkey"));
        for (Object suite : list(map(discovery.get("tokens")).get("suites")))
            System.out.println("  tokens " + map(suite).get("key_version") + " " + map(suite).get("public_key"));
    }

    /** §8, for one borrower; up to 256 go in one call. */
    static Map<String, Object> makeToken(Map<String, Object> pins, Key key, String idType, String identifier)
            throws Exception {
        Map<String, Object> suite = list(map(map(pins.get("discovery")).get("tokens")).get("suites")).stream()
            .map(Sample::map).filter(one -> Boolean.TRUE.equals(one.get("current"))).findFirst().orElseThrow();
        BigInteger blind = freshScalar();
        byte[] blinded = hashToPoint(tokenInput(idType, identifier)).times(blind).encode();
        Map<String, Object> named = object("suite", suite.get("suite"), "key_version", suite.get("key_version"));
        Map<String, Object> asked = new LinkedHashMap<>(named);
        asked.put("blinded", List.of(b64u(blinded)));
        Map<String, Object> told = call(pins, key, "/v1/tokens/evaluate", asked, null).data();
        byte[] evaluated = unb64u((String) list(told.get("evaluated")).get(0));
        must(proofHolds(unb64u(text(suite, "public_key")), List.of(blinded), List.of(evaluated),
            unb64u(text(told, "proof"))), "the proof does not hold");
        named.put("element", b64u(unblind(blind, evaluated)));
        return named;
    }

    /** §14: the promised leaf, once it is in the tree. */
    static Map<String, Object> proveInclusion(Map<String, Object> pins, Map<String, Object> log) throws Exception {
        String vkey = text(map(map(pins.get("discovery")).get("log")), "vkey");
        String url = text(pins, "url") + "/audit/v1/proof/inclusion?event_id=" + log.get("event_id");
        for (Instant end = Instant.now().plusSeconds((Long) log.get("mmd"));;) {
            Answer got = send(url, "GET", Map.of(), new byte[0]);
            Map<String, Object> told = map(Json.read(got.body()));
            if (got.status() == 200) {
                checkInclusion(told, vkey, text(log, "leaf"));
                return told;
            }
            must("not_integrated_yet".equals(told.get("code")) && Instant.now().isBefore(end),
                "no proof in time: " + told.get("code"));
            Thread.sleep(1000 * got.retryAfter());
        }
    }

    static void ask(String keyFile, String pinsFile, String idType, String identifier, String document,
            String evidenceFile) throws Exception {
        Key key = openKey(keyFile);
        Map<String, Object> pins = map(Json.read(Files.readAllBytes(Path.of(pinsFile))));
        Map<String, Object> subject = makeToken(pins, key, idType, identifier);

        // §9. Keep the salt with the document: only both together show what was digested.
        Instant now = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        byte[] salt = random(32);
        String digest = digestString(join(salt, Files.readAllBytes(Path.of(document))));
        Exchange consent = call(pins, key, "/v1/consents", object("kind", "query", "subject", subject,
            "purposes", List.of("pre_loan"), "scopes", List.of("defaults"), "valid_from", now.toString(),
            "valid_until", now.plus(30, ChronoUnit.DAYS).toString(), "max_uses", 1L,
            "evidence", object("digest", digest, "channel", "paper", "signed_at", now.toString())),
            "consent-" + b64u(random(12)));
        openJws(list(map(pins.get("jwks")).get("keys")), text(consent.data(), "consent_receipt"), "cs-consent+jwt");

        Object consentId = consent.data().get("consent_id");
        Exchange asked = call(pins, key, "/v1/queries", object("subject", subject, "purpose", "pre_loan",
            "consent_id", consentId, "scopes", List.of("defaults")), "query-" + b64u(random(12)));
        Map<String, Object> proof = proveInclusion(pins, asked.log());

        // §15. What to keep: `creditshare verify-evidence` reads it, offline, years later.
        Map<String, Object> discovery = map(pins.get("discovery"));
        Map<String, Object> memberJwk = new LinkedHashMap<>(key.jwk());
        memberJwk.put("kid", key.kid());
        Base64.Encoder base64 = Base64.getEncoder();
        Files.writeString(Path.of(evidenceFile), Json.write(object("kind", "creditshare-evidence/v1",
            "issuer", discovery.get("issuer"),
            "request", object("jws", asked.requestJws(), "body", base64.encodeToString(asked.requestBody())),
            "answer", object("status", (long) asked.answer().status(), "jws", asked.answer().jws(),
                "body", base64.encodeToString(asked.answer().body())),
            "member_jwk", memberJwk, "service_jwks", pins.get("jwks"),
            "log_vkey", map(discovery.get("log")).get("vkey"), "proof", proof)));
        System.out.println(Json.write(object("element", subject.get("element"), "consent_id", consentId,
            "consent_salt", b64u(salt), "answer", asked.data(), "event_id", asked.log().get("event_id"),
            "leaf_index", proof.get("index"), "tree_size", proof.get("size"))));
    }

    // --- The published vectors ------------------------------------------------------------------------------------

    static byte[] hex(Object text) { return HexFormat.of().parseHex((String) text); }

    static Map<String, Object> load(String folder, String name) throws IOException {
        return map(Json.read(Files.readAllBytes(Path.of(folder, name + ".json"))));
    }

    static void vectors(String folder) throws Exception {
        Map<String, Object> keys = load(folder, "01-keys");
        List<Map<String, Object>> members = map(keys.get("members")).values().stream().map(Sample::map).toList();
        for (Map<String, Object> member : members)
            must(thumbprint(map(member.get("private_jwk"))).equals(member.get("kid")), "01");

        Map<String, Object> proof = load(folder, "06-proof");
        List<byte[]> blinded = list(proof.get("blinded")).stream().map(Sample::hex).toList();
        List<byte[]> evaluated = list(proof.get("evaluated")).stream().map(Sample::hex).toList();
        List<Object> inputs = list(load(folder, "04-blind").get("inputs"));
        List<Object> tokens = list(load(folder, "07-token").get("tokens"));
        for (int i = 0; i < inputs.size(); i++) {
            Map<String, Object> one = map(inputs.get(i));
            byte[] input = tokenInput(text(one, "id_type"), text(one, "identifier"));
            must(Arrays.equals(input, utf8(text(one, "input"))), "04 input");
            BigInteger blind = number(hex(one.get("blind")));
            must(Arrays.equals(hashToPoint(input).encode(), hex(one.get("point"))), "04 point");
            must(Arrays.equals(hashToPoint(input).times(blind).encode(), hex(one.get("blinded"))), "04 blinded");
            must(Arrays.equals(unblind(blind, evaluated.get(i)), hex(map(tokens.get(i)).get("element"))), "07");
        }
        byte[] publicKey = hex(proof.get("public_key"));
        must(proofHolds(publicKey, blinded, evaluated, hex(proof.get("proof"))), "06");
        List<byte[]> swapped = List.of(evaluated.get(1), evaluated.get(0));
        must(!proofHolds(publicKey, blinded, swapped, hex(proof.get("proof"))), "06 takes any proof");

        for (String name : List.of("03-enrolment", "05-evaluate", "08-consent", "09-record", "10-query",
                "11-query-again", "12-query-refused")) {
            Map<String, Object> exchange = load(folder, name);
            Map<String, Object> request = map(exchange.get("request"));
            Map<String, Object> told = map(exchange.get("answer"));
            boolean signed = request.get("jws") != null;
            String sent = text(map(request.get(signed ? "jws" : "proof")), "compact");
            Object issuedBy = map(Json.read(unb64u(sent.split("\\.")[1]))).get("iss");
            Map<String, Object> member = members.stream()
                .filter(one -> one.get("member_id").equals(issuedBy)).findFirst().orElseThrow();
            if (signed) openJws(List.of(member.get("private_jwk")), sent, "cs-req+jwt");
            must(b64u(sha256(utf8(sent))).equals(request.get("rqh")), name);
            Map<String, Object> pins = object("member_id", issuedBy, "jwks", keys.get("jwks"),
                "discovery", object("issuer", keys.get("issuer")));
            Answer answer = new Answer(((Long) told.get("status")).intValue(), text(map(told.get("jws")), "compact"),
                utf8(text(told, "body")), 0);
            checkAnswer(pins, answer, text(request, "rqh"), utf8(text(request, "body")));
        }
        Map<String, Object> log = load(folder, "13-log");
        for (Map.Entry<String, Object> one : map(log.get("checkpoints")).entrySet()) {
            Checkpoint checkpoint = openCheckpoint((String) one.getValue(), text(log, "vkey"));
            must(checkpoint.size() == Long.parseLong(one.getKey())
                && b64u(checkpoint.root()).equals(map(log.get("roots")).get(one.getKey())), "13 checkpoint");
        }
        Map<String, Object> inclusion = map(log.get("inclusion"));
        Object leaf = list(log.get("leaves")).get(((Long) inclusion.get("index")).intValue());
        checkInclusion(inclusion, text(log, "vkey"), text(map(leaf), "leaf"));
        System.out.println("all vectors hold");
    }

    public static void main(String[] args) {
        String command = args.length + (args.length > 0 ? args[0] : "");
        try {
            switch (command) {
                case "5enrol" -> enrol(args[1], args[2], args[3], args[4]);
                case "7ask" -> ask(args[1], args[2], args[3], args[4], args[5], args[6]);
                case "2vectors" -> vectors(args[1]);
                default -> {
                    System.err.println("usage: see the first lines of this file");
                    System.exit(2);
                }
            }
        } catch (Exception error) {
            System.err.println(error.getMessage() == null ? error : error.getMessage());
            System.exit(1);
        }
    }

    // --- P-256, affine (y² = x³ − 3x + b), and its hash-to-curve (RFC 9380) ---------------------------------------

    static BigInteger number(byte[] bigEndian) { return new BigInteger(1, bigEndian); }

    record Point(BigInteger x, BigInteger y) {
        static final BigInteger P =
            new BigInteger("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", 16);
        static final BigInteger N =
            new BigInteger("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16);
        static final BigInteger B =
            new BigInteger("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b", 16);
        static final BigInteger A = P.subtract(BigInteger.valueOf(3));
        static final BigInteger Z = P.subtract(BigInteger.TEN); // of SSWU, RFC 9380 §8.2
        static final Point ZERO = new Point(null, null);
        static final Point G = decode(HexFormat.of().parseHex(
            "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"));

        static BigInteger curve(BigInteger x) { return x.pow(3).add(A.multiply(x)).add(B).mod(P); }

        /** A root of a square; of anything else, a number whose square is another. */
        static BigInteger root(BigInteger square) { return square.modPow(P.add(BigInteger.ONE).shiftRight(2), P); }

        /** Strict: 33 bytes, x below p, on the curve; so the identity has no encoding. */
        static Point decode(byte[] bytes) {
            must(bytes.length == 33 && (bytes[0] == 2 || bytes[0] == 3), "not a compressed point");
            BigInteger x = number(Arrays.copyOfRange(bytes, 1, 33));
            must(x.compareTo(P) < 0, "x is not below p");
            BigInteger y = root(curve(x));
            must(y.multiply(y).mod(P).equals(curve(x)), "not on the curve");
            return new Point(x, y.testBit(0) == (bytes[0] == 3) ? y : P.subtract(y));
        }

        byte[] encode() {
            must(this != ZERO, "the identity has no encoding");
            byte[] wide = join(new byte[32], x.toByteArray());
            return join(new byte[] {(byte) (y.testBit(0) ? 3 : 2)},
                Arrays.copyOfRange(wide, wide.length - 32, wide.length));
        }

        Point plus(Point other) {
            if (this == ZERO) return other;
            if (other == ZERO) return this;
            BigInteger slope;
            if (!x.equals(other.x)) {
                slope = other.y.subtract(y).multiply(other.x.subtract(x).modInverse(P));
            } else if (y.equals(other.y)) { // no point of this curve has y = 0
                slope = x.pow(2).multiply(BigInteger.valueOf(3)).add(A).multiply(y.shiftLeft(1).modInverse(P));
            } else {
                return ZERO;
            }
            BigInteger sum = slope.pow(2).subtract(x).subtract(other.x).mod(P);
            return new Point(sum, slope.multiply(x.subtract(sum)).subtract(y).mod(P));
        }

        Point times(BigInteger scalar) {
            Point total = ZERO;
            for (int bit = scalar.bitLength() - 1; bit >= 0; bit--) {
                total = total.plus(total);
                if (scalar.testBit(bit)) total = total.plus(this);
            }
            return total;
        }

        /** RFC 9380 §5.3.1, expand_message_xmd. */
        static byte[] expand(byte[] message, byte[] tag, int length) {
            byte[] suffix = join(tag, new byte[] {(byte) tag.length});
            byte[] first = sha256(new byte[64], message, i2(length), new byte[] {0}, suffix);
            byte[] block = sha256(first, new byte[] {1}, suffix);
            byte[] whole = block.clone();
            for (byte count = 2; whole.length < length; count++) {
                for (int i = 0; i < 32; i++) block[i] ^= first[i];
                block = sha256(block, new byte[] {count}, suffix);
                whole = join(whole, block);
            }
            return Arrays.copyOf(whole, length);
        }

        /** RFC 9380 §6.6.2, simplified SWU. */
        static Point map(BigInteger u) {
            BigInteger zuu = Z.multiply(u.pow(2)).mod(P);
            BigInteger denominator = zuu.pow(2).add(zuu).mod(P);
            BigInteger x = denominator.signum() == 0
                ? B.multiply(Z.multiply(A).modInverse(P)).mod(P)
                : B.negate().multiply(A.modInverse(P))
                    .multiply(denominator.modInverse(P).add(BigInteger.ONE)).mod(P);
            if (!root(curve(x)).pow(2).mod(P).equals(curve(x))) x = zuu.multiply(x).mod(P);
            BigInteger y = root(curve(x));
            return new Point(x, y.testBit(0) == u.testBit(0) ? y : P.subtract(y));
        }

        /** RFC 9380 §3 and §8.2, P256_XMD:SHA-256_SSWU_RO_. */
        static Point hash(byte[] message, byte[] tag) {
            byte[] wide = expand(message, tag, 96);
            BigInteger first = number(Arrays.copyOf(wide, 48)).mod(P);
            BigInteger second = number(Arrays.copyOfRange(wide, 48, 96)).mod(P);
            return map(first).plus(map(second));
        }
    }

    // --- JSON: objects are maps in order, whole numbers are Long ---------------------------------------------------

    @SuppressWarnings("unchecked")
    static Map<String, Object> map(Object value) { return (Map<String, Object>) value; }

    @SuppressWarnings("unchecked")
    static List<Object> list(Object value) { return (List<Object>) value; }

    static String text(Map<String, Object> object, String name) { return (String) object.get(name); }

    static Map<String, Object> object(Object... namesAndValues) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) made.put((String) namesAndValues[i], namesAndValues[i + 1]);
        return made;
    }

    static final class Json {
        private final String text;
        private int at;

        private Json(String text) { this.text = text; }

        static Object read(byte[] utf8) {
            Json json = new Json(new String(utf8, StandardCharsets.UTF_8));
            Object value = json.value();
            must(json.peek() == 0, "something follows the JSON");
            return value;
        }

        /** The next character that is no white space; 0 at the end. */
        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
            return at < text.length() ? text.charAt(at) : 0;
        }

        private boolean took(char wanted) {
            boolean there = peek() == wanted;
            if (there) at++;
            return there;
        }

        private Object value() {
            if (took('{')) {
                Map<String, Object> members = new LinkedHashMap<>();
                if (took('}')) return members;
                do {
                    must(took('"'), "a name is expected");
                    String name = string();
                    must(took(':'), "a colon is expected");
                    must(!members.containsKey(name), "a name stands twice");
                    members.put(name, value());
                } while (took(','));
                must(took('}'), "an object is not closed");
                return members;
            }
            if (took('[')) {
                List<Object> items = new ArrayList<>();
                if (took(']')) return items;
                do items.add(value()); while (took(','));
                must(took(']'), "a list is not closed");
                return items;
            }
            if (took('"')) return string();
            int start = at;
            while (at < text.length() && "+-.0123456789abcdefghijklmnopqrstuvwxyzE".indexOf(text.charAt(at)) >= 0) at++;
            String word = text.substring(start, at);
            return switch (word) {
                case "true" -> true;
                case "false" -> false;
                case "null" -> null;
                default -> Long.valueOf(word); // the protocol has no fractions
            };
        }

        private String string() {
            StringBuilder made = new StringBuilder();
            for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
                if (c == '\\') {
                    c = text.charAt(at++);
                    int known = "bfnrt".indexOf(c);
                    if (known >= 0) {
                        c = "\b\f\n\r\t".charAt(known);
                    } else if (c == 'u') {
                        c = (char) Integer.parseInt(text.substring(at, at + 4), 16);
                        at += 4;
                    }
                }
                made.append(c);
            }
            return made.toString();
        }

        static String write(Object value) {
            if (value instanceof Map<?, ?> members) {
                List<String> parts = new ArrayList<>();
                members.forEach((name, one) -> parts.add(quote((String) name) + ":" + write(one)));
                return "{" + String.join(",", parts) + "}";
            }
            if (value instanceof List<?> items)
                return "[" + String.join(",", items.stream().map(Json::write).toList()) + "]";
            return value instanceof String one ? quote(one) : String.valueOf(value);
        }

        private static String quote(String text) {
            StringBuilder made = new StringBuilder("\"");
            for (char c : text.toCharArray()) {
                if (c == '"' || c == '\\') made.append('\\').append(c);
                else if (c < ' ' || c > '~') made.append("\\u%04x".formatted((int) c));
                else made.append(c);
            }
            return made.append('"').toString();
        }
    }
}
