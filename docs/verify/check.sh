#!/bin/sh
# Checks a log of signed checkpoints with openssl 3, jq and xxd; nothing here is of creditshare.
#
#   sh check.sh VKEY checkpoint NOTE
#   sh check.sh VKEY inclusion LEAF PROOF.json
#   sh check.sh VKEY consistency OLD-NOTE NEW-NOTE PROOF.json
#
# Follows C2SP signed-note and tlog-checkpoint and RFC 9162, sections 2.1.3.2 and 2.1.4.2. Status 0: it holds.
set -eu
export LC_ALL=C
[ $# -ge 3 ] || { sed -n '4,6s/^# *//p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "does not hold: $1" >&2; exit 1; }
hex() { openssl base64 -d -A | xxd -p -c 1000; }
sha256() { digest=$(openssl dgst -sha256 -r) && echo "${digest%% *}"; }
join() { printf '01%s%s' "$1" "$2" | xxd -r -p | sha256; }
number() { printf '%s\n' "$1" | grep -Eqx '0|[1-9][0-9]{0,17}' || fail "$1 is not a number"; }

name=${1%%+*} rest=${1#*+}
id=${rest%%+*} key=$(printf %s "${rest#*+}" | hex)
[ "${#key}" = 66 ] && [ "${key%"${key#01}"}" = 01 ] || fail "this is not an Ed25519 verifier key"
[ "$({ printf '%s\n' "$name"; printf %s "$key" | xxd -r -p; } | sha256 | cut -c 1-8)" = "$id" ] || fail "the key and its id differ"
printf '302a300506032b6570032100%s' "${key#01}" | xxd -r -p > "$work/key.der"

# Sets size and root from a note that the key signed.
open_note() {
    awk '/^$/ { exit } { print }' "$1" > "$work/text"
    awk 'after { print } /^$/ { after = 1 }' "$1" > "$work/lines"
    signed=
    while read -r dash who blob; do
        signature=$(printf %s "$blob" | hex)
        [ "$dash" = — ] && [ "$who" = "$name" ] && [ "${signature%"${signature#????????}"}" = "$id" ] || continue
        printf %s "${signature#????????}" | xxd -r -p > "$work/signature"
        openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/text" \
            -sigfile "$work/signature" > /dev/null 2>&1 || fail "the signature of $1"
        signed=yes
    done < "$work/lines"
    [ -n "$signed" ] || fail "$1 is not signed by this key"
    [ "$(sed -n 1p "$work/text")" = "$name" ] || fail "$1 is of another log"
    size=$(sed -n 2p "$work/text") root=$(sed -n 3p "$work/text" | hex)
    number "$size"
    [ "${#root}" = 64 ] || fail "$1 has no root"
}

# Prints in hexadecimal what of a JSON file are hashes: 32 bytes in base64url, two letters make three digits.
hashes() {
    jq -r "($1) | if test(\"\\\\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\\\\z\") then . else error(\"\") end" "$2" \
        > "$work/hashes" 2> /dev/null || fail "a hash is not 32 bytes long"
    awk 'function value(i) {
            return index("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", substr($0, i, 1)) - 1
        }
        { for (i = 1; i < 43; i += 2) printf "%03x", 64 * value(i) + value(i + 1); printf "%x\n", value(43) / 4 }' "$work/hashes"
}

# Goes one step up from the leaf numbered fn in a tree whose last leaf is sn; sets right where the sibling is the left one.
step() {
    [ "$sn" -gt 0 ] || fail "the proof has too many hashes"
    right=
    if [ $((fn & 1)) = 1 ] || [ "$fn" = "$sn" ]; then
        right=yes
        while [ $((fn & 1)) = 0 ] && [ "$fn" -gt 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
    fi
    fn=$((fn >> 1)) sn=$((sn >> 1))
}

case "$2 $#" in
"checkpoint 3")
    open_note "$3"
    echo "holds: $name signed $size entries"
    ;;
"inclusion 4")
    jq -j .checkpoint "$4" > "$work/note"
    open_note "$work/note"
    numbers=$(jq -c '[.index, .size]' "$4")
    index=${numbers%,*} index=${index#?}
    number "$index"
    [ "$numbers" = "[$index,$size]" ] || fail "the proof is for another size than its checkpoint"
    [ "$index" -lt "$size" ] || fail "the index is not in the tree"
    up=$({ printf '\0'; cat "$3"; } | sha256)
    hashes '.leaf_hash, .hashes[]' "$4" > "$work/all"
    [ "$(sed 1q "$work/all")" = "$up" ] || fail "the proof is of another leaf"
    sed 1d "$work/all" > "$work/path"
    fn=$index sn=$((size - 1))
    while read -r sibling; do
        step
        if [ -n "$right" ]; then up=$(join "$sibling" "$up"); else up=$(join "$up" "$sibling"); fi
    done < "$work/path"
    [ "$sn" = 0 ] && [ "$up" = "$root" ] || fail "the hashes do not lead from the leaf to the root"
    echo "holds: the leaf is entry $index of $size"
    ;;
"consistency 5")
    open_note "$3"
    old=$size old_root=$root
    open_note "$4"
    [ "$(jq -c '[.from, .to]' "$5")" = "[$old,$size]" ] || fail "the proof is between other sizes than the checkpoints"
    [ "$old" -le "$size" ] || fail "the log shrank from $old to $size entries"
    hashes '.hashes[]' "$5" > "$work/path"
    if [ "$old" = 0 ] || [ "$old" = "$size" ]; then
        [ ! -s "$work/path" ] || fail "the proof has too many hashes"
        [ "$old" = 0 ] || [ "$old_root" = "$root" ] || fail "two roots for one size"
    else
        # A power of two is one node of the new tree, so the proof leaves it out.
        [ $((old & (old - 1))) = 0 ] && { echo "$old_root"; cat "$work/path"; } > "$work/all" || cp "$work/path" "$work/all"
        fn=$((old - 1)) sn=$((size - 1))
        while [ $((fn & 1)) = 1 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
        read -r first < "$work/all" || fail "the proof has too few hashes"
        sed 1d "$work/all" > "$work/path"
        was=$first is=$first
        while read -r sibling; do
            step
            if [ -n "$right" ]; then
                was=$(join "$sibling" "$was") is=$(join "$sibling" "$is")
            else
                is=$(join "$is" "$sibling")
            fi
        done < "$work/path"
        [ "$sn" = 0 ] && [ "$was" = "$old_root" ] && [ "$is" = "$root" ] || fail "the hashes do not connect the two roots"
    fi
    echo "holds: the log grew from $old to $size entries and changed none"
    ;;
*) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
