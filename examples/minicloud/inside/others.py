# SPDX-License-Identifier: Apache-2.0
"""Takes OTLP/HTTP from other tools on this machine and writes one JSON line a span, metric and log request.

    others.py PORT FILE

A line: path (says which tool was told to export here), service, pid, scope, name, trace_id, span_id, parent_id. Metrics
and logs are lines with their path alone.
"""

import gzip
import json
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}

port, path = int(sys.argv[1]), sys.argv[2]
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = UNPACK.get(self.headers.get("content-encoding"), bytes)(body)
        lines = list(spans(body)) if self.path.endswith("/v1/traces") else [{}]
        with lock:
            output.writelines(json.dumps({"path": self.path, **line}) + "\n" for line in lines)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_words):
        """Say nothing."""


def spans(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {pair.key: pair.value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "service": about["service.name"].string_value,
                    "pid": about["process.pid"].int_value if "process.pid" in about else None,
                    "scope": scope.scope.name,
                    "name": span.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex(),
                }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


with open(path, "a", buffering=1) as output:
    Server(("127.0.0.1", port), Handler).serve_forever()
