#!/bin/sh
# Copies a whole log into a folder with curl: sh mirror.sh SERVICE FOLDER. It checks nothing.
# The names are those of C2SP tlog-tiles: 256 to a file, what is not full yet is called .p/<how many>.
set -eu
curl -sSf --create-dirs -o "$2/checkpoint" "$1/log/v1/checkpoint"
awk -v size="$(sed -n 2p "$2/checkpoint")" -v from="$1/log/v1" -v to="$2" '
    function name(n,   text) {
        text = sprintf("%03d", n % 1000)
        for (n = int(n / 1000); n > 0; n = int(n / 1000)) text = sprintf("x%03d/%s", n % 1000, text)
        return text
    }
    function want(path) { printf "url = \"%s/%s\"\noutput = \"%s/%s\"\n", from, path, to, path }
    function row(folder, count,   n) {
        for (n = 0; n < int(count / 256); n++) want("tile/" folder "/" name(n))
        if (count % 256) want("tile/" folder "/" name(n) ".p/" count % 256)
    }
    BEGIN {
        row("entries", size)
        for (level = 0; size > 0; level++) { row(level, size); size = int(size / 256) }
    }' > "$2/files"
[ ! -s "$2/files" ] || curl -sSf --fail-early --create-dirs -K "$2/files"
rm "$2/files"
