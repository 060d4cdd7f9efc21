// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// identity is what a series is called on the wire, and what it was called before characters were replaced.
type identity struct {
	name   string // with the prefix, without the suffix of a derived name (.count, .p50)
	inline string // tags between name and value: InfluxDB's and Graphite's
	tail   string // tags at the end of a line: DogStatsD's
	raw    string // tells apart what only the replacing made equal
}

type label struct{ key, value string }

// namer renders identities; it is used when a stream is first seen, not for every point.
type namer struct {
	flavor    string
	longest   int           // of a value
	truncated *atomic.Int64 // values that were longer
	prefix    string
	missing   string
	otherwise template
	templates patterns[template]
	resource  []string
	excluded  map[string]bool
}

// newNamer takes a configuration that was validated.
func newNamer(cfg *Config, truncated *atomic.Int64) (*namer, error) {
	tagged := cfg.Flavor != flavorEtsy
	text := cfg.Names.Default
	if text == "" {
		text = defaultNames[cfg.Flavor]
	}
	otherwise, err := parseTemplate(text, tagged)
	if err != nil {
		return nil, at("names::default", err)
	}
	templates := map[string]template{}
	for pattern, text := range cfg.Names.Metrics {
		if templates[pattern], err = parseTemplate(text, tagged); err != nil {
			return nil, at("names::metrics::"+pattern, err)
		}
	}
	excluded := map[string]bool{}
	for _, key := range cfg.Tags.Exclude {
		excluded[key] = true
	}
	return &namer{
		flavor: cfg.Flavor, longest: cfg.MaxValueLength, truncated: truncated, prefix: cfg.Prefix, missing: cfg.Names.Missing, otherwise: otherwise,
		templates: newPatterns(templates), resource: cfg.Tags.ResourceAttributes, excluded: excluded,
	}, nil
}

// identify takes the attributes of the point sorted by key.
func (n *namer) identify(metric string, point, resource []label) identity {
	t := n.templates.find(metric, n.otherwise)
	var name, raw strings.Builder
	if n.prefix != "" {
		name.WriteString(n.prefix)
		name.WriteByte('.')
	}
	raw.WriteString(metric)
	for _, part := range t {
		switch part.placeholder {
		case "":
			name.WriteString(part.literal)
		case placeMetric:
			name.WriteString(clean(metric, nameSafe))
		case placeAttributes:
			n.writeAll(&name, &raw, t, point)
		default:
			value, _ := find(part.placeholder, point, resource)
			name.WriteString(n.segment(value))
			writeRaw(&raw, part.placeholder, value)
		}
	}
	id := identity{name: tidy(name.String())}
	if id.name == "" {
		id.name = n.missing
	}
	if n.flavor != flavorEtsy {
		id.inline, id.tail = n.tags(&raw, t, point, resource)
	}
	id.raw = raw.String()
	return id
}

// writeAll folds key and value of every attribute that has no placeholder of its own, so that a value says what it is of.
func (n *namer) writeAll(name, raw *strings.Builder, t template, point []label) {
	first := true
	for _, a := range point {
		if t.takes(a.key) || n.excluded[a.key] {
			continue
		}
		if !first {
			name.WriteByte('.')
		}
		first = false
		name.WriteString(clean(a.key, segmentSafe))
		name.WriteByte('.')
		name.WriteString(n.segment(a.value))
		writeRaw(raw, a.key, a.value)
	}
}

// segment is a value as one level of a name.
func (n *namer) segment(value string) string {
	if value == "" {
		return n.missing
	}
	return clean(n.cut(value), segmentSafe)
}

// cut leaves the beginning of a long value: a URL must not cost a whole line.
func (n *namer) cut(value string) string {
	if len(value) <= n.longest {
		return value
	}
	n.truncated.Add(1)
	return beginning(value, n.longest)
}

// beginning splits no character.
func beginning(text string, size int) string {
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

func (n *namer) tags(raw *strings.Builder, t template, point, resource []label) (inline, tail string) {
	var tags []label
	for _, a := range point {
		if !t.takes(a.key) && !n.excluded[a.key] {
			tags = append(tags, a)
		}
	}
	for _, key := range n.resource {
		if _, inPoint := find(key, point, nil); inPoint || t.takes(key) {
			continue
		}
		if value, found := find(key, nil, resource); found {
			tags = append(tags, label{key, value})
		}
	}
	slices.SortStableFunc(tags, func(a, b label) int { return strings.Compare(a.key, b.key) })
	for _, a := range tags {
		writeRaw(raw, a.key, a.value)
	}
	switch n.flavor {
	case flavorDogStatsD:
		return "", n.join(tags, "|#", ",", ":", dogValueSafe)
	case flavorInfluxDB:
		return n.join(tags, ",", ",", "=", influxValueSafe), ""
	default:
		return n.join(tags, ";", ";", "=", nameSafe), ""
	}
}

func (n *namer) join(tags []label, open, between, equals string, safe func(rune) bool) string {
	var text strings.Builder
	for i, a := range tags {
		if i == 0 {
			text.WriteString(open)
		} else {
			text.WriteString(between)
		}
		text.WriteString(orElse(clean(a.key, nameSafe), n.missing))
		text.WriteString(equals)
		text.WriteString(orElse(clean(n.cut(a.value), safe), n.missing))
	}
	return text.String()
}

func orElse(text, missing string) string {
	if text != "" {
		return text
	}
	return orUnderscore(missing)
}

func orUnderscore(missing string) string {
	if missing == "" {
		return "_" // a tag cannot be without a value
	}
	return missing
}

// longestRaw is where a value is replaced by its beginning and its hash.
const longestRaw = 1024

// writeRaw separates by bytes that stand in no key, so that two different sets never read the same.
func writeRaw(raw *strings.Builder, key, value string) {
	if len(value) > longestRaw {
		hash := fnv.New128a()
		_, _ = hash.Write([]byte(value))
		value = beginning(value, longestRaw) + hex.EncodeToString(hash.Sum(nil))
	}
	raw.WriteByte(0)
	raw.WriteString(key)
	raw.WriteByte(1)
	raw.WriteString(value)
}

func find(key string, point, resource []label) (string, bool) {
	for _, attributes := range [...][]label{point, resource} {
		for _, a := range attributes {
			if a.key == key {
				return a.value, true
			}
		}
	}
	return "", false
}

// nameSafe is what Etsy's daemon leaves in a name as it is.
func nameSafe(r rune) bool { return segmentSafe(r) || r == '.' }

// segmentSafe leaves out the dot, which would begin a new level.
func segmentSafe(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

func influxValueSafe(r rune) bool { return nameSafe(r) || r == '/' }

// dogValueSafe keeps letters of other scripts: DogStatsD's tags may have them, the others' names may not.
func dogValueSafe(r rune) bool {
	return nameSafe(r) || r == '/' || r > unicode.MaxASCII && r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// clean replaces each character (and each byte that is none) that is not safe by one underscore.
func clean(text string, safe func(rune) bool) string {
	for _, r := range text {
		if !safe(r) {
			return strings.Map(func(r rune) rune {
				if safe(r) {
					return r
				}
				return '_'
			}, text)
		}
	}
	return text
}

// tidy removes levels without a name, which an empty placeholder leaves.
func tidy(name string) string {
	if !strings.Contains(name, "..") && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".") {
		return name
	}
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '.' }), ".")
}
