// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// template is a statsd name with placeholders: {metric}, {attributes} (all that no other placeholder took) or the key of
// an attribute, looked for on the data point and then on the resource.
type template []templatePart

type templatePart struct {
	literal     string
	placeholder string // empty for a literal
}

const (
	placeMetric     = "metric"
	placeAttributes = "attributes"
)

func parseTemplate(text string, tagged bool) (template, error) {
	var parts template
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return nil, fmt.Errorf("%q has a } without {", text)
		}
		if err := validateText("text between placeholders", literal); err != nil {
			return nil, err
		}
		if literal != "" {
			parts = append(parts, templatePart{literal: literal})
		}
		if !found {
			break
		}
		placeholder, next, closed := strings.Cut(after, "}")
		if !closed || placeholder == "" || strings.Contains(placeholder, "{") {
			return nil, fmt.Errorf("%q has a { without a name and }", text)
		}
		if tagged && placeholder == placeAttributes {
			return nil, fmt.Errorf("%q: {attributes} is for flavor etsy only; here they are tags", text)
		}
		parts = append(parts, templatePart{placeholder: placeholder})
		rest = next
	}
	if len(parts) == 0 {
		return nil, errors.New("an empty template names nothing")
	}
	return parts, nil
}

// takes says whether a placeholder of its own names the attribute.
func (t template) takes(key string) bool {
	return slices.ContainsFunc(t, func(p templatePart) bool { return p.placeholder == key })
}

// patterns finds what is configured for a metric: its exact name wins, then the longest pattern that matches.
type patterns[T any] struct {
	exact map[string]T
	globs []glob[T]
}

type glob[T any] struct {
	pattern string
	value   T
}

func newPatterns[T any](byPattern map[string]T) patterns[T] {
	p := patterns[T]{exact: map[string]T{}}
	for pattern, value := range byPattern {
		if strings.Contains(pattern, "*") {
			p.globs = append(p.globs, glob[T]{pattern, value})
		} else {
			p.exact[pattern] = value
		}
	}
	slices.SortFunc(p.globs, func(a, b glob[T]) int {
		if len(a.pattern) != len(b.pattern) {
			return len(b.pattern) - len(a.pattern)
		}
		return strings.Compare(a.pattern, b.pattern)
	})
	return p
}

func (p patterns[T]) find(name string, otherwise T) T {
	if value, found := p.exact[name]; found {
		return value
	}
	for _, g := range p.globs {
		if matches(g.pattern, name) {
			return g.value
		}
	}
	return otherwise
}

// matches compares with a pattern in which * stands for any text, also none.
func matches(pattern, name string) bool {
	first, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == name
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(part):], next
	}
}
