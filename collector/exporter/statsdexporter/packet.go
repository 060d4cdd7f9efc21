// SPDX-License-Identifier: Apache-2.0

package statsdexporter

// packets is lines behind each other, cut where a packet ends. Its memory is reused.
type packets struct {
	limit  int
	framed bool // the newline behind a packet's last line is sent too: a stream has no other end of a line

	bytes  []byte
	full   []packet
	begin  int // of the packet that is being filled
	filled int // its lines
}

type packet struct {
	begin, end int
	lines      int
}

// commit takes what was appended since begin as lines that belong together; false when they fit into no packet.
func (p *packets) commit(begin, lines int) bool {
	size := len(p.bytes) - begin + p.newline()
	if size > p.limit {
		p.bytes = p.bytes[:begin]
		return false
	}
	if begin-p.begin+size > p.limit {
		p.cut(begin)
	}
	p.bytes = append(p.bytes, '\n')
	p.filled += lines
	return true
}

func (p *packets) newline() int { return int(boolToCount(p.framed)) }

func (p *packets) cut(end int) {
	if p.filled > 0 {
		p.full = append(p.full, packet{p.begin, end - 1 + p.newline(), p.filled})
	}
	p.begin, p.filled = end, 0
}

// finish cuts the last packet also when it is not full.
func (p *packets) finish() { p.cut(len(p.bytes)) }

// reset keeps the lines of the packet that is not full.
func (p *packets) reset() {
	kept := copy(p.bytes, p.bytes[p.begin:])
	p.bytes, p.full, p.begin = p.bytes[:kept], p.full[:0], 0
}

func (p *packets) payload(one packet) []byte { return p.bytes[one.begin:one.end] }
