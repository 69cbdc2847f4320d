"""CloudFormation's intrinsic functions, for a template that is already translated from SAM."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

NO_VALUE = object()
"""What `AWS::NoValue` stands for: the property is not there."""

_PLACEHOLDER = re.compile(r"\$\{(!?)([^}]+)\}")
Attribute = Callable[[str, str], Any]


class Intrinsics:
    """Replaces intrinsic functions by their values.

    Args:
        template: translated; its parameters' defaults hold where `parameters` says nothing.
        attribute: resource and attribute (empty for `Ref`) → value. KeyError: no such resource.
        pseudo: values of `AWS::Region` and the like.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        pseudo: Mapping[str, str],
        attribute: Attribute,
    ) -> None:
        self._template = template
        self._attribute = attribute
        self._values: dict[str, Any] = {**pseudo, "AWS::NoValue": NO_VALUE}
        for name, declared in template.get("Parameters", {}).items():
            value = parameters.get(name, declared.get("Default", ""))
            if declared["Type"] == "CommaDelimitedList" or declared["Type"].startswith("List<"):
                self._values[name] = [part.strip() for part in str(value).split(",")]
            else:
                self._values[name] = str(value)
        unknown = set(parameters) - set(template.get("Parameters", {}))
        if unknown:
            raise KeyError(f"no such parameters: {', '.join(sorted(unknown))}")

    def resolve(self, value: Any) -> Any:
        """The same with all intrinsic functions replaced."""
        if isinstance(value, list):
            return [done for one in value if (done := self.resolve(one)) is not NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self._reference(argument)
            if name == "Condition" and isinstance(argument, str) and argument in self._template.get("Conditions", {}):
                return self.condition(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        return {key: done for key, one in value.items() if (done := self.resolve(one)) is not NO_VALUE}

    def condition(self, name: str) -> bool:
        """The value of a condition of the template."""
        return bool(self.resolve(self._template["Conditions"][name]))

    def wanted(self, resource: Mapping[str, Any]) -> bool:
        """Whether a resource's or output's condition holds, if it has one."""
        return "Condition" not in resource or self.condition(resource["Condition"])

    def _reference(self, name: str) -> Any:
        return self._values[name] if name in self._values else self._attribute(name, "")

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "GetAtt":
                resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self._attribute(resource, attribute)
            case "Sub":
                return self._substitute(argument)
            case "If":
                condition, then, otherwise = argument
                return self.resolve(then if self.condition(condition) else otherwise)
        resolved = self.resolve(argument)
        match name:
            case "Join":
                return str(resolved[0]).join(str(part) for part in resolved[1])
            case "Select":
                return resolved[1][int(resolved[0])]
            case "Split":
                return resolved[1].split(resolved[0])
            case "Equals":
                return str(resolved[0]) == str(resolved[1])
            case "Not":
                return not resolved[0]
            case "And":
                return all(resolved)
            case "Or":
                return any(resolved)
            case "FindInMap":
                return self._template["Mappings"][resolved[0]][resolved[1]][resolved[2]]
            case "GetAZs":
                return [f"{self._values['AWS::Region']}{letter}" for letter in "abc"]
            case "Base64":
                return base64.b64encode(str(resolved).encode()).decode()
        raise ValueError(f"the rehearsal does not act out Fn::{name}: teach it before the template uses it")

    def _substitute(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        values = self.resolve(own)

        def value(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            if name in values:
                return str(values[name])
            resource, dot, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if dot else self._reference(name))

        return _PLACEHOLDER.sub(value, text)
