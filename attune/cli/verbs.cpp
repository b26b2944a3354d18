#include "attune/cli/verbs.h"

namespace attune {

void add_verbs(CLI::App& app) {
  add_train(app);
  add_eval(app);
  add_study(app);
  add_predict(app);
  add_detect(app);
  add_generate(app);
  add_embed(app);
  add_report(app);
  add_explain(app);
  add_describe(app);
  add_data(app);
  add_model(app);
  add_pretrain(app);
  add_bench(app);
}

}  // namespace attune
