"""Is the generator good?"""

from dataclasses import dataclass
from typing import Literal

from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.findings import Finding, findings_of

Grade = Literal["good", "flawed", "poor"]

GRADES: dict[Grade, str] = {
    "good": "This generator is good",
    "flawed": "This generator is usable, with flaws",
    "poor": "This generator is not good",
}


@dataclass(frozen=True)
class Verdict:
    """What a reader should know first."""

    grade: Grade
    findings: list[Finding]

    @property
    def opening(self) -> str:
        """Whether it is good."""
        if not self.findings:
            return f"{GRADES[self.grade]}: in nothing that was measured do its samples fall short of real ones by much."
        return f"{GRADES[self.grade]}."

    @property
    def sentence(self) -> str:
        """That, and what is wrong, serious findings first."""
        return " ".join([self.opening, *(finding.sentence for finding in self.findings)])


def judge(evaluation: Evaluation) -> Verdict:
    """The verdict on what was measured."""
    findings = list(findings_of(evaluation))
    findings.sort(key=lambda finding: finding.severity != "serious")
    serious = any(finding.severity == "serious" for finding in findings)
    return Verdict("poor" if serious else "flawed" if findings else "good", findings)
