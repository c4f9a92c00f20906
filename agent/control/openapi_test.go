package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh"
)

// The OpenAPI file is written by this test out of the table of resources, the types and
// their comments, and CI fails when it is not what the code says.
const openapiFile = "../../docs/protocols/openapi.json"

var update = flag.Bool("update", false, "write "+openapiFile)

// described says of a resource what its types do not.
type described struct {
	summary string
	query   []string // names; ? at the end: may be left out
	body    any
	answer  any
	media   string // of the answer, if it is not JSON
}

type empty struct{}

var descriptions = map[string]described{
	"/v1/status":          {summary: "All there is of the mesh.", answer: mesh.Status{}},
	"/v1/neighbours":      {summary: "The nodes one hop away and the links to them.", answer: []mesh.Neighbour{}},
	"/v1/routes":          {summary: "Babel's routes.", answer: []mesh.RouteStatus{}},
	"/v1/counters":        {summary: "What was done and refused since the start.", answer: map[string]uint64{}},
	"/v1/reload":          {summary: "Read the configuration file again and apply what can be applied live.", answer: Reloaded{}},
	"/v1/dht":             {summary: "The hash table of this node.", answer: DHTStatus{}},
	"/v1/dht/get":         {summary: "What a node published under a name; its node record without one.", query: []string{"node", "name?", "onion?"}, answer: DHTRecord{}},
	"/v1/dht/put":         {summary: "Publish a value of this node under a name, and keep it published.", body: PutRequest{}, answer: DHTStored{}},
	"/v1/dht/withdraw":    {summary: "Take back what was published under a name.", body: WithdrawRequest{}, answer: DHTStored{}},
	"/v1/dht/list":        {summary: "The names under which this node publishes.", answer: []DHTPublished{}},
	"/v1/dht/lookup":      {summary: "The nodes closest to a NodeID or a key of 64 hexadecimal digits.", query: []string{"target"}, answer: DHTLookup{}},
	"/v1/onion":           {summary: "This node in the onion.", answer: OnionStatus{}},
	"/v1/relays":          {summary: "The relays that are known, and what was measured of them.", answer: []Relay{}},
	"/v1/circuits":        {summary: "This node's circuits; never where their streams lead.", answer: []Circuit{}},
	"/v1/circuits/close":  {summary: "Close a circuit and its streams.", body: CloseRequest{}, answer: empty{}},
	"/v1/newnym":          {summary: "Have new streams take circuits that nothing was sent through.", answer: empty{}},
	"/v1/tunnel":          {summary: "Serve a path for as long as the request lasts; the answer is lines of JSON.", body: TunnelRequest{}, answer: TunnelEvent{}, media: "application/json"},
	"/v1/services":        {summary: "The hidden services of this node.", answer: []Service{}},
	"/v1/services/add":    {summary: "Write a service into the configuration file and reload.", body: ServiceRequest{}, answer: Service{}},
	"/v1/services/remove": {summary: "Take a service out of the configuration file and reload; its key stays.", body: ServiceName{}, answer: empty{}},
	"/v1/lan":             {summary: "The LAN edge.", answer: LANStatus{}},
	"/v1/lan/off":         {summary: "Remove the rules of the LAN until the next reload or start.", answer: empty{}},
	"GET /v1/config":      {summary: "The configuration, secrets hidden, and what may be in it.", answer: SettingsView{}},
	"POST /v1/config":     {summary: "Change the configuration, all or nothing; undone unless it is confirmed.", body: ChangeRequest{}, answer: Changed{}},
	"/v1/config/confirm":  {summary: "Keep what was changed.", body: ChangeID{}, answer: empty{}},
	"/v1/config/undo":     {summary: "Put the configuration back as it was before.", body: ChangeID{}, answer: empty{}},
	"/v1/lan/mode":        {summary: "Change the mode of a network, or of a client in it.", body: LANModeRequest{}, answer: Changed{}},
	"/v1/log":             {summary: "What the agent said lately.", query: []string{"after?"}, answer: Log{}},
	"/v1/map":             {summary: "The neighbourhood: nodes and links.", answer: Map{}},
	"/v1/history":         {summary: "What was measured of a neighbour in the last hour.", query: []string{"neighbour"}, answer: History{}},
	metricsPath:           {summary: "Numbers for Prometheus, text format 0.0.4.", media: "text/plain"},
	eventsPath:            {summary: "Server-sent events: the name of a resource, and what it answers now.", media: "text/event-stream"},
}

type object = map[string]any

// schemas collects the types that answers are made of.
type schemas struct {
	made     object
	comments map[string]string // "Type" or "Type.Field"
}

// readComments takes comments of types and fields from the sources of their packages.
func readComments(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, folder := range folders {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("sources of %s: %v", folder, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				d, ok := n.(*ast.GenDecl)
				if !ok || d.Tok != token.TYPE {
					return true
				}
				for _, spec := range d.Specs {
					s := spec.(*ast.TypeSpec)
					comments[s.Name.Name] = oneLine(d.Doc.Text() + s.Doc.Text())
					fields, ok := s.Type.(*ast.StructType)
					if !ok {
						continue
					}
					for _, f := range fields.Fields.List {
						for _, id := range f.Names {
							comments[s.Name.Name+"."+id.Name] = oneLine(f.Doc.Text() + f.Comment.Text())
						}
					}
				}
				return true
			})
		}
	}
	return comments
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "nanoseconds"}
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[netip.AddrPort]():
		return object{"type": "string", "description": strings.ToLower(t.Name())}
	case reflect.TypeFor[identity.NodeID]():
		return object{"type": "string", "pattern": "^[a-z2-7]{56}$", "description": "NodeID"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	}
	panic("no schema of " + t.String())
}

func (s *schemas) structure(t reflect.Type) object {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if _, known := s.made[name]; !known {
		made := object{"type": "object"}
		s.made[name] = made // before its fields: a type may hold itself
		properties, required := object{}, []string{}
		for _, f := range reflect.VisibleFields(t) {
			key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" || key == "-" {
				continue
			}
			schema := s.of(f.Type)
			if text := s.comments[t.Name()+"."+f.Name]; text != "" {
				if schema["$ref"] != nil {
					schema = object{"allOf": []any{schema}}
				}
				if unit, ok := schema["description"].(string); ok {
					text = unit + "; " + text
				}
				schema["description"] = text
			}
			properties[key] = schema
			if !strings.Contains(options, "omit") {
				required = append(required, key)
			}
		}
		made["properties"] = properties
		if len(required) > 0 {
			made["required"] = required
		}
		if text := s.comments[t.Name()]; text != "" {
			made["description"] = text
		}
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// openapi makes the document of the table of resources.
func openapi(t *testing.T) object {
	t.Helper()
	s := &schemas{made: object{}, comments: readComments(t, ".", "../../mesh", "../config")}
	failed := object{"description": "The code is for programs, the error says what happened, the hint what to do.",
		"content": object{"application/json": object{"schema": s.of(reflect.TypeFor[Error]())}}}
	paths := object{}
	for _, r := range resources {
		d, ok := descriptions[r.method+" "+r.path] // where a path has two methods
		if !ok {
			d, ok = descriptions[r.path]
		}
		if !ok {
			t.Errorf("%s %s is not described: add it to the table of this test, then -update", r.method, r.path)
			continue
		}
		content := object{}
		media := d.media
		if media == "" {
			media = "application/json"
		}
		content[media] = object{}
		if d.answer != nil {
			content[media] = object{"schema": s.of(reflect.TypeOf(d.answer))}
		}
		operation := object{"summary": d.summary, "responses": object{
			"200": object{"description": "Done.", "content": content}, "default": failed,
		}}
		if d.body != nil {
			operation["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(d.body))}}}
		}
		parameters := []any{}
		for _, name := range d.query {
			name, optional := strings.CutSuffix(name, "?")
			parameters = append(parameters, object{"name": name, "in": "query", "required": !optional, "schema": object{"type": "string"}})
		}
		if len(parameters) > 0 {
			operation["parameters"] = parameters
		}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path].(object)[strings.ToLower(r.method)] = operation
	}
	for path := range descriptions {
		if _, after, ok := strings.Cut(path, " "); ok {
			path = after
		}
		if paths[path] == nil {
			t.Errorf("%s is described, but not served", path)
		}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "GlobalNet control API", "version": "1",
			"description": "HTTP and JSON on the Unix socket of an agent; see control.md."},
		"servers":    []any{object{"url": "http://agent", "description": "the Unix socket; the host name means nothing"}},
		"paths":      paths,
		"components": object{"schemas": s.made},
	}
}

func TestOpenAPI(t *testing.T) {
	text, err := json.MarshalIndent(openapi(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(openapiFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(openapiFile)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("the code has another API than %s (%v): run go test ./agent/control -update and look at the difference", openapiFile, err)
	}
}

// TestAnswersFollowOpenAPI asks for everything that can be read and holds the answers
// against the file.
func TestAnswersFollowOpenAPI(t *testing.T) {
	text, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	a := whole(2)
	a.fake.table = &fakeTable{values: map[string][]byte{"x": {1}}}
	checked := 0
	for path, operations := range doc["paths"].(object) {
		operation, ok := operations.(object)["get"].(object)
		if !ok || path == eventsPath || path == metricsPath {
			continue
		}
		url := path
		if operation["parameters"] != nil {
			id := identity.NodeID{7}.String()
			url += "?name=x&node=" + id + "&target=" + id + "&after=0&neighbour=" + id
		}
		w := httptest.NewRecorder()
		Handler(a).ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %v", path, w.Code, err)
			continue
		}
		schema := at(doc, operation, "responses", "200", "content", "application/json", "schema")
		if err := conforms(doc, schema, v, path); err != nil {
			t.Error(err)
		}
		checked++
	}
	if checked < 10 {
		t.Errorf("%d answers held against the file", checked)
	}
}

func at(doc, v object, keys ...string) object {
	for _, k := range keys {
		v = resolve(doc, v[k].(object))
	}
	return v
}

func resolve(doc, schema object) object {
	if ref, ok := schema["$ref"].(string); ok {
		return at(doc, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	if all, ok := schema["allOf"].([]any); ok {
		return resolve(doc, all[0].(object))
	}
	return schema
}

// conforms checks the part of JSON Schema that the file uses, and refuses fields that the
// schema does not name.
func conforms(doc, schema object, v any, where string) error {
	schema = resolve(doc, schema)
	kind := map[string]string{"float64": "number", "string": "string", "bool": "boolean", "map[string]interface {}": "object", "[]interface {}": "array"}[fmt.Sprintf("%T", v)]
	if kind == "number" && schema["type"] == "integer" && v.(float64) == float64(int64(v.(float64))) {
		kind = "integer"
	}
	if kind != schema["type"] {
		return fmt.Errorf("%s is %v, a %s; the file says %v", where, v, kind, schema["type"])
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if err := conforms(doc, schema["items"].(object), item, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case object:
		properties, _ := schema["properties"].(object)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			field, ok := properties[key].(object)
			if more, is := schema["additionalProperties"].(object); !ok && is {
				field, ok = more, true
			}
			if !ok {
				return fmt.Errorf("%s has a field %s that the file does not name", where, key)
			}
			if err := conforms(doc, field, v[key], where+"."+key); err != nil {
				return err
			}
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, ok := v[key.(string)]; !ok {
				return fmt.Errorf("%s lacks %v", where, key)
			}
		}
	}
	return nil
}
