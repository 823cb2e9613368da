"""A configuration as plain values that are read as attributes: `options.figure.label`."""

from typing import Any


class Options(dict[str, Any]):
    """A mapping whose values, mappings within it too, are attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no {name!r}; there are: {', '.join(self)}") from None


def as_options(value: Any) -> Any:
    """Plain values with each mapping, within lists too, as `Options`."""
    if isinstance(value, dict):
        return Options({key: as_options(each) for key, each in value.items()})
    return [as_options(each) for each in value] if isinstance(value, list) else value
