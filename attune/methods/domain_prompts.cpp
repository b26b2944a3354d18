#include "attune/methods/domain_prompts.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

std::vector<SourceDomain> source_domains(const TrainingData& data) {
  if (data.domains.empty()) return {{"all", -1}};
  std::vector<SourceDomain> sources;
  for (std::size_t d = 0; d < data.domains.size(); ++d) {
    if (data.domains[d].samples > 0) sources.push_back({data.domains[d].name, static_cast<std::int64_t>(d)});
  }
  return sources;
}

Tensor DomainPrompts::of(const std::string& domain) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.domain == domain; });
  if (found != entries_.end()) return found->prompt;
  return entries_.emplace_back(Entry{domain, start_.detach().clone().requires_grad_(true)}).prompt;
}

Tensor DomainPrompts::of(const Batch& batch, const std::vector<DomainSamples>& domains) const {
  const auto row_of = [&](std::int64_t domain) {
    if (domains.empty()) return std::int64_t{0};
    const std::string& name = domains.at(static_cast<std::size_t>(domain)).name;
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.domain == name; });
    if (found == entries_.end()) {
      throw Error(fmt::format("training: expected a learned prompt of the domain \"{}\", found none", name));
    }
    return static_cast<std::int64_t>(found - entries_.begin());
  };
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    rows.push_back(row_of(batch.domains.defined() ? batch.domains[i].item<std::int64_t>() : 0));
  }
  std::vector<Tensor> prompts;
  for (const Entry& entry : entries_) prompts.push_back(entry.prompt.detach());
  return at::stack(prompts).index_select(0, at::tensor(rows, at::kLong).to(start_.device()));
}

TensorMap DomainPrompts::state() const {
  TensorMap state;
  for (const Entry& entry : entries_) state[entry.domain] = entry.prompt.detach();
  return state;
}

}  // namespace attune
