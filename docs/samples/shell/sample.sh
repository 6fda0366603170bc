#!/usr/bin/env bash
# A signed question with curl and openssl alone, and the check of its answer. § are the sections of docs/protocol.md.
# The blind token comes from elsewhere (§8 needs curve arithmetic that the openssl command does not offer): from a
# Node, Java or Python client of the same bank, for instance, with the id of the consent.
#
#   sample.sh URL mem_… bank.pem service-jwks.json KEY_VERSION ELEMENT cns_…
#
# bank.pem is the registered key, made by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`.
# service-jwks.json is what `curl URL/.well-known/jwks.json` gave at first contact: keep it, compare it, pin it.
# Prints the answer's body, once everything about it holds, and on standard error its event. Needs bash, curl and openssl 1.1.1 or newer.
set -euo pipefail
[ $# -eq 7 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
url=$1 member=$2 key=$3 jwks=$4 key_version=$5 element=$6 consent=$7

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "sample.sh: $1" >&2; exit 1; }

# --- §1 Encodings ---------------------------------------------------------------------------------------------------

b64u() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
unb64u() {
  local text
  text=$(tr -- '-_' '+/')
  while [ $((${#text} % 4)) -ne 0 ]; do text+='='; done
  printf %s "$text" | openssl base64 -d -A
}
hex() { od -An -v -tx1 | tr -d ' \n'; }
unhex() { printf %b "$(sed 's/../\\x&/g' | tr -d '\n')"; }
sha256() { openssl dgst -sha256 -binary; }
digest_string() { printf 'sha-256=:%s:' "$(sha256 | openssl base64 -A)"; }

# A member of JSON on one line, as it is spelt: enough for the plain members read here, jq for anything more.
text_of() { sed -n "s/.*\"$1\": *\"\(\([^\"\\\\]\|\\\\.\)*\)\".*/\1/p"; }
number_of() { sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p"; }
unescaped() { sed 's/\\\(.\)/\1/g' | tr -d '\n'; }

# --- §2 Keys and signatures -----------------------------------------------------------------------------------------

# Our kid is the thumbprint of the public key; DER ends with its x and y.
openssl pkey -in "$key" -pubout -outform DER | tail -c 64 > "$folder/xy"
x=$(head -c 32 "$folder/xy" | b64u) y=$(tail -c 32 "$folder/xy" | b64u)
kid=$(printf '{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' "$x" "$y" | sha256 | b64u)

# openssl signs in DER; ES256 is R and S, 32 bytes each, joined.
es256() {
  openssl dgst -sha256 -sign "$key" | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *:\([0-9A-F]*\)$/\1/p' |
    while read -r number; do printf '%64s' "$number" | tr ' ' 0; done | unhex | b64u
}

# And back: check that the pinned key of this kid signed it. Arguments: kid, signed text, base64url of R ‖ S.
signature_holds() {
  local jwk rs
  jwk=$(tr -d '\n' < "$jwks" | tr '}' '\n' | grep -F "\"$1\"") || fail 'signed by a key that is not pinned'
  {
    printf 3059301306072a8648ce3d020106082a8648ce3d03010703420004 | unhex # how a P-256 key begins in DER (RFC 5480)
    text_of x <<< "$jwk" | unb64u
    text_of y <<< "$jwk" | unb64u
  } > "$folder/service.der"
  rs=$(unb64u <<< "$3" | hex)
  [ ${#rs} -eq 128 ] || fail 'a signature has 64 bytes'
  printf 'asn1=SEQUENCE:rs\n[rs]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "${rs:0:64}" "${rs:64}" > "$folder/rs.cnf"
  openssl asn1parse -genconf "$folder/rs.cnf" -noout -out "$folder/rs.der"
  printf %s "$2" |
    openssl dgst -sha256 -verify "$folder/service.der" -keyform DER -signature "$folder/rs.der" > /dev/null ||
    fail 'the signature does not hold'
}

# --- §4 Request -----------------------------------------------------------------------------------------------------

path=/v1/queries
issuer=$(curl -fsS "$url/.well-known/creditshare" | text_of issuer)
body=$folder/body   # written once: the very same bytes are hashed and sent
{
  printf '{"subject":{"suite":"P256-SHA256","key_version":%d,"element":"%s"},' "$key_version" "$element"
  printf '"purpose":"pre_loan","consent_id":"%s","scopes":["defaults"]}' "$consent"
} > "$body"
now=$(date +%s)
idempotency_key=query-$(openssl rand -hex 12)   # keep it: a retry repeats it, and the body, in a new token (§5)
header=$(printf '{"alg":"ES256","typ":"cs-req+jwt","kid":"%s"}' "$kid" | b64u)
payload=$({
  printf '{"ver":"1","iss":"%s","sub":"system:sample","aud":"%s",' "$member" "$issuer"
  printf '"iat":%d,"exp":%d,"jti":"%s",' "$now" $((now + 60)) "$(openssl rand -hex 16)"
  printf '"htm":"POST","htu":"%s","idk":"%s",' "$issuer$path" "$idempotency_key"
  printf '"cdg":"%s"}' "$(digest_string < "$body")"
} | b64u)
token=$header.$payload.$(printf %s "$header.$payload" | es256)

# The token goes in by standard input: arguments are seen by every user of the machine.
status=$(printf 'header = "Authorization: Bearer %s"\n' "$token" | curl -sS --config - "$url$path" \
  -H 'Content-Type: application/json' -H "Idempotency-Key: $idempotency_key" --data-binary "@$body" \
  -D "$folder/headers" -o "$folder/answer" -w '%{http_code}')

# --- §6 Answer ------------------------------------------------------------------------------------------------------

signature=$(tr -d '\r' < "$folder/headers" | sed -n 's/^[Cc][Ss]-[Ss]ignature: //p')
[ -n "$signature" ] || fail "$status, not signed, so it binds nobody: $(cat "$folder/answer")"
IFS=. read -r answer_header answer_payload answer_signature <<< "$signature"
answer_header_text=$(unb64u <<< "$answer_header")
[ "$(text_of alg <<< "$answer_header_text") $(text_of typ <<< "$answer_header_text")" = 'ES256 cs-res+jwt' ] ||
  fail 'alg or typ is another'
signature_holds "$(text_of kid <<< "$answer_header_text")" "$answer_header.$answer_payload" "$answer_signature"

claims=$(unb64u <<< "$answer_payload")
rqh=$(printf %s "$token" | sha256 | b64u)
cdg=$(digest_string < "$folder/answer")
[ "$(text_of iss <<< "$claims")" = "$issuer" ] || fail "the answer's iss is another"
[ "$(text_of aud <<< "$claims")" = "$member" ] || fail "the answer's aud is another"
[ "$(text_of rqh <<< "$claims")" = "$rqh" ] || fail "the answer's rqh is another: it answers something else"
[ "$(number_of sts <<< "$claims")" = "$status" ] || fail "the answer's sts is another"
[ "$(text_of cdg <<< "$claims")" = "$cdg" ] || fail "the answer's cdg is another: the body was changed"

# --- §12, §13 Receipt and leaf --------------------------------------------------------------------------------------

commitment() { # arguments: group, salt; the payload comes by standard input
  { printf 'creditshare/audit/v1/%s\0' "$1"; cat; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(unb64u <<< "$2" | hex)" -binary | b64u
}

leaf=$(text_of leaf <<< "$claims" | unescaped)
leaf_hash=$({ printf '\0'; printf %s "$leaf"; } | sha256 | b64u)
[ "$(text_of leaf_hash <<< "$claims")" = "$leaf_hash" ] || fail 'leaf_hash is not the hash of the leaf'
event=$(text_of event_id <<< "$claims")
[ "$event" = "evt_$(text_of id <<< "$leaf")" ] || fail 'the leaf is of another event'
meta=$(text_of meta <<< "$claims" | unescaped | commitment meta "$(text_of s_meta <<< "$claims")")
[ "$meta" = "$(text_of c_meta <<< "$leaf")" ] || fail 'meta is not what the leaf commits to'
exchange=$(printf '{"answer_digest":"%s","request_body_digest":"%s","rqh":"%s"}' \
  "$cdg" "$(digest_string < "$body")" "$rqh" | commitment body "$(text_of s_body <<< "$claims")")
[ "$exchange" = "$(text_of c_body <<< "$leaf")" ] || fail 'the leaf commits to another exchange'

# Whether the leaf is in the log shows $url/audit/v1/proof/inclusion?event_id=$event (§14): a matter for a regulator's
# tools, or the Node and Java samples; older openssl commands cannot verify the Ed25519 signature of a checkpoint.
[ "$status" -lt 400 ] || fail "refused: $(cat "$folder/answer")"
cat "$folder/answer"
echo
echo "$event" >&2
