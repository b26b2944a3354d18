#include "attune/methods/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/methods/clip_adapter.h"
#include "attune/methods/clip_lora.h"
#include "attune/methods/cocoop.h"
#include "attune/methods/cones.h"
#include "attune/methods/coop.h"
#include "attune/methods/domain_guided.h"
#include "attune/methods/dpl.h"
#include "attune/methods/dpspg.h"
#include "attune/methods/kgcoop.h"
#include "attune/methods/linear_probe.h"
#include "attune/methods/prograd.h"
#include "attune/methods/prompt_sets.h"
#include "attune/methods/prompted_towers.h"
#include "attune/methods/promptsrc.h"
#include "attune/methods/spg.h"
#include "attune/methods/tip_adapter.h"
#include "attune/methods/visual_prompt.h"
#include "attune/methods/zero_shot.h"

namespace attune {

const std::vector<Method>& methods() {
  static const std::vector<Method> kAll = {
      zero_shot_method(), linear_probe_method(), coop_method(),          cocoop_method(),        kgcoop_method(),
      prograd_method(),   clip_adapter_method(), tip_adapter_method(),   tip_adapter_f_method(), dpl_method(),
      spg_method(),       dpspg_method(),        maple_method(),         vpt_method(),           ivlp_method(),
      deep_text_method(), promptsrc_method(),    visual_prompt_method(), clip_lora_method(),     plot_method(),
      dual_pt_method(),   dcpl_method(),         dplq_method(),          gdpl_method(),          cones_method(),
  };
  return kAll;
}

const Method& find_method(std::string_view name) {
  std::vector<std::string> known;
  for (const Method& method : methods()) {
    if (method.name == name) return method;
    known.push_back(method.name);
  }
  throw UsageError(fmt::format("method: expected one of {}, found \"{}\"{}", fmt::join(known, ", "), name,
                               did_you_mean(nearest(name, known), "\"")));
}

MethodChoice parse_method(std::string_view text) {
  MethodChoice choice;
  const std::size_t colon = text.find(':');
  choice.name = text.substr(0, colon);
  if (colon == std::string_view::npos) return choice;
  std::string_view rest = text.substr(colon + 1);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view piece = rest.substr(0, comma);
    if (piece.find('=') == std::string_view::npos) {
      if (choice.assignments.empty()) {
        throw UsageError(fmt::format("method: expected NAME:key=value,..., found \"{}\"", text));
      }
      choice.assignments.back() += fmt::format(",{}", piece);
    } else {
      choice.assignments.emplace_back(piece);
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return choice;
}

}  // namespace attune
