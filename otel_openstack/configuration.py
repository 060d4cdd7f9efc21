# SPDX-License-Identifier: Apache-2.0
"""What to set up: read from the standard environment variables, or from a declarative configuration file.

The file (`OTEL_CONFIG_FILE`) is the one that every OpenTelemetry SDK takes; our own options stand in it under
`distribution: otel_openstack:`. Its exporters are translated to the variables that mean the same, so that there is one
way from a choice to an exporter.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from otel_openstack import settings
from otel_openstack.tracing import limits

OTEL_CONFIG_FILE = "OTEL_CONFIG_FILE"
SECTION = "otel_openstack"
SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


@dataclass(eq=False, repr=False)
class Plan:
    """What the providers are built of. None means the default of the SDK.

    exporters: environment variables that choose the exporters, as `exporters.choose` reads them.
    temporality, aggregation: of metrics, by class of instrument, as readers of the SDK take them.
    export_interval: seconds between exports of all metrics; None reads `OTEL_METRIC_EXPORT_INTERVAL`.
    """

    resource: Resource | None = None
    sampler: Sampler | None = None
    id_generator: IdGenerator | None = None
    limits: SpanLimits | None = None
    views: tuple[Any, ...] = ()
    exemplar_filter: Any = None
    propagator: TextMapPropagator | None = None
    exporters: Mapping[str, str] = field(default_factory=dict)
    processors: tuple[Any, ...] = ()
    readers: tuple[Any, ...] = ()
    temporality: dict[type, Any] | None = None
    aggregation: dict[type, Any] | None = None
    export_interval: float | None = None
    disabled: bool = False
    problems: list[str] = field(default_factory=list)


def read(environ: Mapping[str, str]) -> Plan:
    """Read what to set up, and put our options in force.

    A file that cannot be used is told in `Plan.problems`; the environment then decides.
    """
    path = environ.get(OTEL_CONFIG_FILE, "").strip()
    plan = None
    section: Mapping[str, Any] = {}
    problems: list[str] = []
    if path:
        try:
            plan, section = _from_file(path, environ)
        except Exception as error:
            problems.append(f"{OTEL_CONFIG_FILE}={path}: {_reason(error)}; using the environment variables instead")
    if plan is None:
        plan = _from_environment(environ)
    chosen, wrong = settings.load(environ, section)
    if "file_directory" not in section and settings.PREFIX + "FILE_DIRECTORY" not in environ:
        directory = plan.exporters.get(settings.PREFIX + "FILE_DIRECTORY")
        chosen = replace(chosen, file_directory=directory) if directory else chosen
    settings.use(chosen)
    plan.problems[:0] = [*problems, *wrong]
    return plan


def _from_environment(environ: Mapping[str, str]) -> Plan:
    plan = Plan(exporters=environ)
    plan.sampler = _sampler(environ, plan.problems)
    plan.id_generator = _id_generator(environ, plan.problems)
    plan.limits = limits.of_spans(environ, plan.problems)
    return plan


def _sampler(environ: Mapping[str, str], problems: list[str]) -> Sampler | None:
    """Return the sampler of an entry point; the SDK reads the variables of its own samplers itself."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if not name or name.lower() in SAMPLERS:
        return None
    try:
        factory = _entry_point("opentelemetry_traces_sampler", name)
        made: Sampler = factory(environ.get("OTEL_TRACES_SAMPLER_ARG"))
        return made
    except Exception as error:
        problems.append(f"OTEL_TRACES_SAMPLER={name}: {_reason(error)}; using parentbased_always_on")
        from opentelemetry.sdk.trace.sampling import DEFAULT_ON

        return DEFAULT_ON


def _id_generator(environ: Mapping[str, str], problems: list[str]) -> IdGenerator | None:
    name = environ.get("OTEL_PYTHON_ID_GENERATOR", "random").strip()
    if name == "random":
        return None
    try:
        made: IdGenerator = _entry_point("opentelemetry_id_generator", name)()
        return made
    except Exception as error:
        problems.append(f"OTEL_PYTHON_ID_GENERATOR={name}: {_reason(error)}; using random")
        return None


def _entry_point(group: str, name: str) -> Any:
    from importlib.metadata import entry_points

    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        raise LookupError("nothing of that name is installed")
    return found.load()


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("opentelemetry.configuration"):
        return "reading it needs opentelemetry-configuration: pip install 'otel-openstack[config-file]'"
    return " ".join(str(error).split()) or type(error).__name__


def _from_file(path: str, environ: Mapping[str, str]) -> tuple[Plan, Mapping[str, Any]]:
    """Read the declarative file; what it does not mention is switched off, as its specification says."""
    # Private names: the package offers only a function that installs the SDK's own providers.
    from opentelemetry.configuration import _meter_provider as meters
    from opentelemetry.configuration import _tracer_provider as tracers
    from opentelemetry.configuration import load_config_file
    from opentelemetry.configuration._propagator import create_propagator
    from opentelemetry.configuration._resource import create_resource
    from opentelemetry.configuration.models import SpanLimits as SpanLimitsConfig

    with _unheard("opentelemetry.configuration"):  # it logs what it raises, with a stack trace
        config = load_config_file(path)
    section = _section(config)
    exporters = {key: value for key, value in environ.items() if not key.startswith(("OTEL_EXPORTER_", "OTEL_TRACES_"))}
    exporters |= {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    plan = Plan(exporters=exporters, resource=create_resource(config.resource))
    plan.propagator = create_propagator(config.propagator)
    if config.disabled:
        plan.disabled = True
        return plan, section
    spans = config.tracer_provider
    plan.sampler = tracers._create_sampler(spans.sampler) if spans and spans.sampler else tracers._DEFAULT_SAMPLER
    if spans is not None:
        plan.id_generator = tracers._create_id_generator(spans.id_generator) if spans.id_generator else None
        stated = spans.limits if spans.limits is not None else SpanLimitsConfig()
        plan.limits = limits.completed(tracers._create_span_limits(stated, config.attribute_limits))
        _translate_processors(spans.processors, exporters, plan)
    points = config.meter_provider
    if points is not None:
        plan.views = tuple(meters._create_view(view) for view in points.views or ())
        if points.exemplar_filter is not None:
            plan.exemplar_filter = meters._create_exemplar_filter(points.exemplar_filter)
        _translate_readers(points.readers, exporters, plan)
    if config.logger_provider is not None:
        _translate_processors(config.logger_provider.processors, exporters, None, signal="LOGS")
    return plan, section


@contextlib.contextmanager
def _unheard(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    children = [child for child in logging.root.manager.loggerDict if child.startswith(f"{name}.")]
    quiet = [child for child in map(logging.getLogger, children) if not child.disabled]
    for child in quiet:
        child.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
        for child in quiet:
            child.disabled = False


def _section(config: Any) -> Mapping[str, Any]:
    """Return our part of the file; the model keeps distributions as additional properties."""
    distribution = config.distribution
    if distribution is None:
        return {}
    known = distribution if isinstance(distribution, Mapping) else getattr(distribution, "additional_properties", {})
    found = known.get(SECTION) or {}
    if not isinstance(found, Mapping):
        raise TypeError(f"distribution: {SECTION}: must be a mapping of options")
    return found


def _translate_processors(
    processors: Iterable[Any], exporters: dict[str, str], plan: Plan | None, signal: str = "TRACES"
) -> None:
    for processor in processors:
        known = getattr(processor, "batch", None) or getattr(processor, "simple", None)
        if known is not None:
            _translate(known.exporter, signal, exporters)
        elif plan is not None:
            plan.processors += (processor,)


def _translate_readers(readers: Iterable[Any], exporters: dict[str, str], plan: Plan) -> None:
    from opentelemetry.configuration import _meter_provider as meters

    for reader in readers:
        if reader.periodic is None:
            plan.readers += (reader,)
            continue
        if reader.periodic.interval is not None:
            plan.export_interval = reader.periodic.interval / 1000
        name = _translate(reader.periodic.exporter, "METRICS", exporters)
        exporter = getattr(reader.periodic.exporter, name, None)
        plan.temporality = meters._map_temporality(getattr(exporter, "temporality_preference", None))
        plan.aggregation = meters._map_histogram_aggregation(getattr(exporter, "default_histogram_aggregation", None))


def _translate(exporter: Any, signal: str, exporters: dict[str, str]) -> str:
    """Write down `exporter` as the variables that choose the same; returns its name in the file."""
    for name, chosen in (("otlp_http", "otlp"), ("otlp_grpc", "otlp"), ("otlp_file_development", "otlp_file")):
        config = getattr(exporter, name, None)
        if config is not None:
            _add(exporters, signal, chosen)
            if name == "otlp_file_development":
                _translate_file(config, exporters)
            else:
                _translate_otlp(config, name, signal, exporters)
            return name
    if getattr(exporter, "console", None) is not None:
        _add(exporters, signal, "console")
        return "console"
    for name in exporter.additional_properties:
        _add(exporters, signal, name)
    return ""


def _add(exporters: dict[str, str], signal: str, name: str) -> None:
    variable = f"OTEL_{signal}_EXPORTER"
    known = [] if exporters.get(variable, "none") == "none" else exporters[variable].split(",")
    exporters[variable] = ",".join([*known, name])


def _translate_file(config: Any, exporters: dict[str, str]) -> None:
    """Take the directory of the file that is named: each process writes a file of its own there."""
    parts = urlsplit(config.output_stream or "")
    if parts.scheme == "file":
        exporters[settings.PREFIX + "FILE_DIRECTORY"] = os.path.dirname(parts.path)


def _translate_otlp(config: Any, name: str, signal: str, exporters: dict[str, str]) -> None:
    tls = config.tls
    encoding = getattr(getattr(config, "encoding", None), "value", "protobuf")
    values = {
        "PROTOCOL": "grpc" if name == "otlp_grpc" else f"http/{encoding}",
        "ENDPOINT": config.endpoint,
        "COMPRESSION": config.compression,
        "TIMEOUT": None if config.timeout is None else str(config.timeout / 1000),
        "CERTIFICATE": tls.ca_file if tls else None,
        "CLIENT_CERTIFICATE": tls.cert_file if tls else None,
        "CLIENT_KEY": tls.key_file if tls else None,
        "HEADERS": _headers(config),
    }
    exporters.update({f"OTEL_EXPORTER_OTLP_{signal}_{key}": value for key, value in values.items() if value})


def _headers(config: Any) -> str:
    pairs = [f"{quote(pair.name)}={quote(pair.value or '')}" for pair in config.headers or ()]
    return ",".join([*pairs, *([config.headers_list] if config.headers_list else [])])
