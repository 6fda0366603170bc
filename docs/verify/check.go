// Checks a log of signed checkpoints with the packages note and tlog of golang.org/x/mod/sumdb, which serve Go's own
// checksum database; nothing here is of creditshare.
//
//	check VKEY checkpoint NOTE
//	check VKEY inclusion LEAF PROOF.json
//	check VKEY consistency OLD-NOTE NEW-NOTE PROOF.json
//	check VKEY mirror FOLDER [PROOF.json ...]
//
// mirror makes the tree from every entry of a copy of the log, compares the tiles with it, and makes the named proofs
// itself to compare them too.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "does not hold:", err)
		os.Exit(1)
	}
}

func require(holds bool, otherwise string) {
	if !holds {
		must(errors.New(otherwise))
	}
}

func read(path string) []byte {
	body, err := os.ReadFile(path)
	must(err)
	return body
}

func hash(text string) (h tlog.Hash) {
	body, err := base64.RawURLEncoding.Strict().DecodeString(text)
	must(err)
	require(len(body) == len(h), "a hash is 32 bytes long")
	copy(h[:], body)
	return h
}

// open returns the size and root of a note that the key signed.
func open(vkey string, body []byte) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(body, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	require(len(lines) > 3 && lines[0] == verifier.Name(), "the checkpoint is of another log")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	require(size > 0 || root == sha256.Sum256(nil), "the empty log has another root")
	return tlog.Tree{N: size, Hash: root}
}

type proof struct {
	LeafHash       string `json:"leaf_hash"`
	Checkpoint     string
	Hashes         []string
	Index          *int64
	Size, From, To int64
}

func readProof(path string) (p proof, hashes []tlog.Hash) {
	must(json.Unmarshal(read(path), &p))
	for _, text := range p.Hashes {
		hashes = append(hashes, hash(text))
	}
	return p, hashes
}

// stored holds every hash of the tree in the order of tlog.StoredHashIndex.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	for _, index := range indexes {
		hashes = append(hashes, s[index])
	}
	return hashes, nil
}

// rebuild makes the whole tree from the entries of a folder and compares the folder's tiles with it.
// It does without tlog.TileHashReader, which before x/mod 0.40.0 believes some tiles unchecked (CVE-2026-56865).
func rebuild(folder string, tree tlog.Tree) (tiles stored) {
	for start := int64(0); start < tree.N; start += 256 {
		tile := tlog.TileForIndex(8, tlog.StoredHashIndex(0, start))
		if tile.W = 256; start+256 > tree.N {
			tile.W = int(tree.N - start)
		}
		name := strings.Replace(name(tile), "tile/0/", "tile/entries/", 1)
		body := read(filepath.Join(folder, name))
		for i := start; i < start+int64(tile.W); i++ {
			require(len(body) >= 2 && len(body) >= 2+int(binary.BigEndian.Uint16(body)), name+" is too short")
			end := 2 + int(binary.BigEndian.Uint16(body))
			hashes, err := tlog.StoredHashes(i, body[2:end], tiles)
			must(err)
			tiles, body = append(tiles, hashes...), body[end:]
		}
		require(len(body) == 0, name+" is too long")
	}
	if tree.N > 0 { // some versions give the empty tree a hash of zeros
		root, err := tlog.TreeHash(tree.N, tiles)
		must(err)
		require(root == tree.Hash, "the entries lead to another root")
	}
	for _, tile := range tlog.NewTiles(8, 0, tree.N) {
		if tile.W < 256 && int64(tile.W) != (tree.N>>(8*tile.L))%256 {
			continue // some versions name every width that the last tile once had
		}
		body, err := tlog.ReadTileData(tile, tiles)
		must(err)
		require(bytes.Equal(body, read(filepath.Join(folder, name(tile)))), name(tile)+" is not what the entries make of it")
	}
	return tiles
}

// name leaves out the height, which x/mod writes into a tile's name and C2SP tlog-tiles does not.
func name(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

// proves makes a proof from the folder and compares it with the one that was given.
func proves(tree tlog.Tree, tiles stored, path string) {
	p, given := readProof(path)
	var made []tlog.Hash
	var err error
	if p.Index != nil {
		require(p.Size <= tree.N, path+" is of a larger log than the folder")
		made, err = tlog.ProveRecord(p.Size, *p.Index, tiles)
		must(err)
		require(tiles[tlog.StoredHashIndex(0, *p.Index)] == hash(p.LeafHash), path+" is of another leaf")
	} else if require(p.To <= tree.N, path+" is of a larger log than the folder"); p.From > 0 {
		made, err = tlog.ProveTree(p.To, p.From, tiles)
	}
	must(err)
	require(fmt.Sprint(made) == fmt.Sprint(given), path+" is not the proof that the folder gives")
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: see the first lines of this file")
		os.Exit(2)
	}
	vkey, what, files := os.Args[1], os.Args[2], os.Args[3:]
	switch {
	case what == "checkpoint" && len(files) == 1:
		fmt.Println("holds: signed", open(vkey, read(files[0])).N, "entries")
	case what == "inclusion" && len(files) == 2:
		p, hashes := readProof(files[1])
		tree := open(vkey, []byte(p.Checkpoint))
		leaf := tlog.RecordHash(read(files[0]))
		require(p.Size == tree.N && p.Index != nil, "the proof is for another size than its checkpoint")
		require(leaf == hash(p.LeafHash), "the proof is of another leaf")
		must(tlog.CheckRecord(hashes, tree.N, tree.Hash, *p.Index, leaf))
		fmt.Println("holds: the leaf is entry", *p.Index, "of", tree.N)
	case what == "consistency" && len(files) == 3:
		before, after := open(vkey, read(files[0])), open(vkey, read(files[1]))
		p, hashes := readProof(files[2])
		require(p.From == before.N && p.To == after.N, "the proof is between other sizes than the checkpoints")
		if before.N > 0 { // CheckTree knows no empty tree, and every log begins with it
			must(tlog.CheckTree(hashes, after.N, after.Hash, before.N, before.Hash))
		} else {
			require(len(hashes) == 0, "the proof has too many hashes")
		}
		fmt.Println("holds: the log grew from", before.N, "to", after.N, "entries and changed none")
	case what == "mirror":
		tree := open(vkey, read(filepath.Join(files[0], "checkpoint")))
		tiles := rebuild(files[0], tree)
		for _, path := range files[1:] {
			proves(tree, tiles, path)
		}
		fmt.Println("holds:", tree.N, "entries,", len(files)-1, "proofs made again")
	default:
		fmt.Fprintln(os.Stderr, "usage: see the first lines of this file")
		os.Exit(2)
	}
}
