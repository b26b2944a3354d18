#pragma once

#include "attune/base/files.h"
#include "attune/evaluation/metrics.h"
#include "attune/evaluation/results.h"

namespace attune {

/// Results with every part filled in and names that would break a page that does not escape them.
inline Results example_results() {
  Results results;
  results.dataset = "drawings <b>\"one\"</b>";
  results.model = "pocket";
  results.pretrained = "sha256:0123";
  results.method = "coop";
  results.seed = 7;
  results.split = {"test", "8 shots a class", "abcdef"};
  results.version = "0.1.0";
  results.command = "attune train --data 'a&b'";
  results.config = {{"epochs", 25}};
  results.classes = {"<script>alert(1)</script>", "R&D", "it's \"so\""};
  results.domains = {"noto", "fluent"};
  results.source_domains = {"noto"};

  Truth truth;
  truth.labels = at::arange(300, at::kLong).remainder(3);
  truth.domains = at::arange(300, at::kLong).div(3, "floor").remainder(2);
  truth.groups = at::arange(300, at::kLong).div(6, "floor").remainder(2);
  truth.class_names = results.classes;
  truth.domain_names = results.domains;
  truth.group_names = {"seen", "held_out"};
  const Tensor right = at::one_hot(truth.labels, 3).to(at::kDouble);
  const Tensor wrong = at::one_hot((truth.labels + 1).remainder(3), 3).to(at::kDouble);
  const auto scores = [&](std::int64_t of_ten) {
    const Tensor known = at::arange(300, at::kLong).remainder(10).lt(of_ten).unsqueeze(1);
    return at::where(known, right, wrong) * 2;
  };
  results.measured = measure(scores(7), truth);
  results.zero_shot = measure(scores(4), truth);
  results.floors = Floors{"pixel nearest neighbour", {{"fluent", {{"seen", 0.175}, {"held_out", 0.156}}}}};
  results.forgetting = Forgetting{0.31, 0.29, {"arrow", "flag"}};
  results.examples = {{"picture.png", "R&D", "R&D", 0.79, "noto", true},
                      {"missing.png", "R&D", "it's \"so\"", 0.6, "fluent", false}};
  results.seconds = 12.5;
  results.peak_memory_mb = 321;
  return results;
}

}  // namespace attune
