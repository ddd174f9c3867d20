package dataset

import (
	"sort"
	"strings"
)

// parquetFormat is the one format that is read; the others are known by name so
// that a refusal can say what it found.
const (
	parquetFormat = "parquet"
	zipFormat     = "zip"
)

// formatExtensions maps each format of the reference library to its extensions,
// in lower case. Documentation files (.md, .toml) count as data there since 5.2
// and are left out here: they never decide a dataset's format.
var formatExtensions = map[string]string{
	parquetFormat: ".parquet .geoparquet .gpq",
	"csv":         ".csv .tsv",
	"json":        ".json .jsonl .ndjson",
	"arrow":       ".arrow",
	"text":        ".txt",
	"conll":       ".conll .conllu",
	"webdataset":  ".tar",
	"xml":         ".xml",
	"hdf5":        ".hdf5 .h5",
	"eval":        ".eval",
	"lance":       ".lance",
	"tsfile":      ".tsfile",
	"vortex":      ".vortex",
	"fasta":       ".fa .fasta .fna .ffn .faa .frn .afa",
	"genbank":     ".gb .gbk .genbank",
	"fastq":       ".fq .fastq",
	"pdb":         ".pdb .ent",
	"mmcif":       ".cif .mmcif",
	zipFormat:     ".zip",
	"imagefolder": ".blp .bmp .dib .bufr .cur .pcx .dcx .dds .ps .eps .fit .fits .fli .flc .ftc .ftu .gbr .gif .grib .png .apng " +
		".jp2 .j2k .jpc .jpf .jpx .j2c .icns .ico .im .iim .tif .tiff .jfif .jpe .jpg .jpeg .msp .pcd .pxr .pbm .pgm .ppm .pnm " +
		".psd .bw .rgb .rgba .sgi .ras .tga .icb .vda .vst .webp .wmf .emf .xbm .xpm",
	"audiofolder": ".mpg .aiff .au .avr .caf .flac .htk .svx .mat4 .mat5 .mpc2k .ogg .paf .pvf .raw .rf64 .sd2 .sds .ircam .voc " +
		".w64 .wav .nist .wavex .wve .xi .mp3 .opus .3gp .3g2 .asf .flv .m4v .webm .f4v .wmv .wma .ogm .mxf .nut",
	"videofolder": ".mpeg .avi .mp4 .mov .mkv",
	"meshfolder":  ".glb .gltf .ply .stl",
	"pdffolder":   ".pdf",
	"niftifolder": ".nii",
}

// bothCases are the formats whose extensions count in upper case too; for all
// others DATA.CSV is no data file.
var bothCases = map[string]bool{
	"imagefolder": true, "audiofolder": true, "videofolder": true, "meshfolder": true,
	"pdffolder": true, "niftifolder": true, "pdb": true,
}

// formatOf maps a lower-case extension to its format.
var formatOf = func() map[string]string {
	m := make(map[string]string)
	for format, extensions := range formatExtensions {
		for _, e := range strings.Fields(extensions) {
			m[e] = format
		}
	}
	return m
}()

// metadataNames describe media files; they decide the format only if nothing
// else is there.
var metadataNames = map[string]bool{"metadata.csv": true, "metadata.jsonl": true, "metadata.parquet": true}

// extensionsOf returns the dot-suffixes of a base name: ".tar", ".gz" of x.tar.gz.
func extensionsOf(base string) []string {
	parts := strings.Split(base, ".")[1:]
	for i := range parts {
		parts[i] = "." + parts[i]
	}
	return parts
}

// isDataFile reports whether some extension of the name is one of a known format.
func isDataFile(base string) bool {
	for _, e := range extensionsOf(base) {
		if _, ok := formatOf[e]; ok {
			return true
		}
		if format, ok := formatOf[strings.ToLower(e)]; ok && bothCases[format] && e == strings.ToUpper(e) {
			return true
		}
	}
	return false
}

// isParquetFile reports whether the name has a Parquet extension anywhere
// (x.snappy.parquet and x.parquet.snappy both do), in lower case only.
func isParquetFile(base string) bool {
	for _, e := range extensionsOf(base) {
		if formatOf[e] == parquetFormat {
			return true
		}
	}
	return false
}

// ties orders extensions that occur equally often; all others lose against
// these and are ordered alphabetically, the last one winning.
var ties = []string{".parquet", ".lance", ".vortex", ".arrow", ".jsonl", ".json", ".csv"}

func tieRank(ext string) int {
	for i, t := range ties {
		if t == ext {
			return len(ties) - i
		}
	}
	return 0
}

// vote returns the format of a file list, "" if no file has a known one: every
// extension of every name has a vote, and the one with the most votes that is
// known wins.
func vote(paths []treePath) string {
	type ballot struct {
		ext      string
		metadata bool
	}
	counts := make(map[ballot]int)
	for _, p := range paths {
		base := p.base()
		for _, e := range extensionsOf(base) {
			counts[ballot{strings.ToLower(e), metadataNames[base]}]++
		}
	}
	ballots := make([]ballot, 0, len(counts))
	for b := range counts {
		ballots = append(ballots, b)
	}
	sort.Slice(ballots, func(i, j int) bool {
		a, b := ballots[i], ballots[j]
		switch {
		case a.metadata != b.metadata:
			return b.metadata
		case counts[a] != counts[b]:
			return counts[a] > counts[b]
		case tieRank(a.ext) != tieRank(b.ext):
			return tieRank(a.ext) > tieRank(b.ext)
		}
		return a.ext > b.ext
	})
	for _, b := range ballots {
		if format, ok := formatOf[b.ext]; ok {
			return format
		}
	}
	return ""
}

// formatsFound names the formats among the files, sorted, for error texts.
func formatsFound(paths []treePath) []string {
	seen := make(map[string]bool)
	for _, p := range paths {
		for _, e := range extensionsOf(p.base()) {
			if format, ok := formatOf[strings.ToLower(e)]; ok {
				seen[format] = true
			}
		}
	}
	out := make([]string, 0, len(seen))
	for f := range seen {
		out = append(out, f)
	}
	sort.Strings(out)
	return out
}
