// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// longestKey is where a key is replaced by its hash: attributes may be long, and there may be many.
const longestKey = 512

// keyBuilder writes sets of attributes as text that is equal for equal sets, whatever their order. Its memory is reused.
type keyBuilder struct {
	pairs []pair
	bytes []byte
	seeds [2]maphash.Seed
}

type pair struct {
	key   string
	value pcommon.Value
}

func newKeyBuilder() keyBuilder {
	return keyBuilder{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// attributes returns the key of a set; the next call overwrites it.
func (b *keyBuilder) attributes(set pcommon.Map) []byte {
	b.sort(set)
	b.bytes = b.bytes[:0]
	for i := range b.pairs {
		b.text(b.pairs[i].key)
		b.value(b.pairs[i].value)
	}
	return b.short()
}

// sort is by insertion: sets are small and mostly sorted.
func (b *keyBuilder) sort(set pcommon.Map) {
	b.pairs = b.pairs[:0]
	for key, value := range set.All() {
		at := len(b.pairs)
		b.pairs = append(b.pairs, pair{key, value})
		for ; at > 0 && b.pairs[at-1].key > key; at-- {
			b.pairs[at] = b.pairs[at-1]
		}
		b.pairs[at] = pair{key, value}
	}
}

func (b *keyBuilder) text(text string) {
	b.bytes = binary.AppendUvarint(b.bytes, uint64(len(text)))
	b.bytes = append(b.bytes, text...)
}

func (b *keyBuilder) value(value pcommon.Value) {
	b.bytes = append(b.bytes, byte(value.Type()))
	switch value.Type() {
	case pcommon.ValueTypeStr:
		b.text(value.Str())
	case pcommon.ValueTypeInt:
		b.bytes = binary.AppendVarint(b.bytes, value.Int())
	case pcommon.ValueTypeDouble:
		b.bytes = binary.LittleEndian.AppendUint64(b.bytes, math.Float64bits(value.Double()))
	case pcommon.ValueTypeBool:
		b.bytes = append(b.bytes, byte(boolToCount(value.Bool())))
	default:
		b.text(value.AsString())
	}
}

func (b *keyBuilder) short() []byte {
	if len(b.bytes) <= longestKey {
		return b.bytes
	}
	first, second := maphash.Bytes(b.seeds[0], b.bytes), maphash.Bytes(b.seeds[1], b.bytes)
	b.bytes = append(b.bytes[:0], 0xff, 0xff)
	b.bytes = binary.LittleEndian.AppendUint64(b.bytes, first)
	b.bytes = binary.LittleEndian.AppendUint64(b.bytes, second)
	return b.bytes
}

// plain copies attributes out of a batch, sorted by key.
func plain(set pcommon.Map) []label {
	attributes := make([]label, 0, set.Len())
	for key, value := range set.All() {
		attributes = append(attributes, label{strings.Clone(key), strings.Clone(value.AsString())})
	}
	slices.SortFunc(attributes, func(a, b label) int { return strings.Compare(a.key, b.key) })
	return attributes
}
