#include "attune/methods/hand_features.h"

#include <vector>

#include "attune/text/templates.h"

namespace attune {
namespace {

std::vector<std::string> choose_templates(const std::string& choice, const std::string& own) {
  if (choice.find("{}") != std::string::npos) return {choice};
  if (choice == "single") return {own};
  std::vector<std::string> templates = template_ensemble(choice);
  if (own != kDefaultTemplate) templates.push_back(own);
  return templates;
}

}  // namespace

Key templates_key() {
  return {"templates", "single",
          "single (the data set's own), best7, all80 (ImageNet's ensembles with the data set's own), or a template "
          "with {} in the place of the name"};
}

Tensor hand_features(const ClipModel& model, const ClassNames& classes, const std::string& choice) {
  const std::vector<std::string> templates = choose_templates(choice, classes.prompt_template);
  std::vector<std::string> sentences;
  for (const std::string& name : classes.names) {
    for (const std::string& one : templates) sentences.push_back(fill(one, name));
  }
  const auto per_class = static_cast<std::int64_t>(templates.size());
  return normalise_rows(encode_sentences(model, sentences).view({-1, per_class, model.config.joint_width}).mean(1));
}

}  // namespace attune
