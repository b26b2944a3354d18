#include "attune/training/clip_pretraining.h"

#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/contrastive.h"
#include "attune/optim/optimiser.h"
#include "attune/training/pretrain_augment.h"
#include "attune/training/pretrain_data.h"
#include "attune/training/pretrain_evaluation.h"
#include "attune/training/pretrain_model.h"
#include "attune/training/pretrain_recipe.h"
#include "attune/training/pretrain_run.h"
#include "attune/training/run_log.h"

namespace attune {
namespace {

constexpr double kCollapsed = 0.99;        // mean pairwise cosine
constexpr std::int64_t kReportEvery = 50;  // steps

/// Mean of 1 - cosine of unit rows with their targets.
Tensor regression_loss(const Tensor& rows, const Tensor& targets) {
  return 1 - (rows * targets).sum(1).mean();
}

class Pretraining {
 public:
  Pretraining(const ClipPretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        progress_(progress),
        stages_(pretrain_stages(recipe_)),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        data_(settings.data),
        gate_(recipe_.text("benchmark"), settings.data),
        run_(settings.out),
        model_(pretrain_clip_config(recipe_, data_.width(), data_.targets().size(1)), recipe_.text("tokenizer"), seed_),
        tokens_(tokenise(model_.tokenizer(), data_.texts(), recipe_.integer("caption_tokens"))) {
    for (const PretrainStage& stage : stages_) total_ += stage.steps() * stage.batch;
    begin(settings.resume);
  }

  bool run() {
    while (position_.stage < std::ssize(stages_)) {
      if (!run_stage(stages_[static_cast<std::size_t>(position_.stage)])) return false;
      checkpoint();  // of the stage's end, optimiser included: a stage made longer goes on from here
      ++position_.stage;
      position_.step = 0;
      optimiser_.reset();
    }
    if (progress_ != nullptr) progress_->finish();
    return true;
  }

 private:
  struct Forward {
    Tensor loss;
    Tensor image, text;  // unit rows; undefined where the stage leaves a tower alone
  };

  void begin(bool resume) {
    position_ = run_.begin(recipe_, resume, saved_);
    if (!saved_.empty()) model_.load_state(saved_);
    log_.emplace(run_.folder() / "metrics.jsonl", position_.log_bytes);
    clock_ = WorkClock(position_.seconds);
    saved_at_ = position_.seconds;
  }

  bool run_stage(const PretrainStage& stage) {
    begin_stage(stage);
    std::int64_t rated_samples = position_.samples;
    double rated_at = clock_.seconds();
    while (position_.step < stage.steps()) {
      if (stop_requested()) {
        checkpoint();
        return false;
      }
      const Forward forward = step(stage);
      ++position_.summed;
      ++position_.step;
      ++position_.draws;
      position_.samples += stage.batch;
      if (position_.step % kReportEvery == 0 || position_.step == stage.steps()) {
        const double rate = static_cast<double>(position_.samples - rated_samples) / (clock_.seconds() - rated_at);
        report(stage, forward, position_.loss_sum / static_cast<double>(position_.summed), rate);
        position_.loss_sum = 0.0;
        position_.summed = 0;
        rated_samples = position_.samples;
        rated_at = clock_.seconds();
      }
      if (progress_ != nullptr) progress_->update(position_.samples, total_, note_);
      if (evaluation_due(stage)) {
        evaluate(stage);
        rated_samples = position_.samples;
        rated_at = clock_.seconds();
      }
      if (clock_.seconds() - saved_at_ > 60.0 * recipe_.number("checkpoint.minutes")) checkpoint();
    }
    return true;
  }

  void begin_stage(const PretrainStage& stage) {
    std::vector<Parameter> parameters;
    const auto add = [&](const std::vector<Parameter>& list) {
      parameters.insert(parameters.end(), list.begin(), list.end());
    };
    if (stage.kind != PretrainStage::Kind::kImage) add(model_.text_parameters());
    if (stage.kind != PretrainStage::Kind::kText) add(model_.image_parameters());
    optimiser_ = make_pretrain_optimiser(parameters, recipe_, saved_);
    saved_.clear();
    log_info(fmt::format("stage {}: step {} of {}", stage.name, position_.step, stage.steps()));
  }

  Forward step(const PretrainStage& stage) {
    optimiser_->zero_gradients();
    Forward result = forward(stage);
    position_.loss_sum += pretrain_step(*optimiser_, result.loss, recipe_, stage.rate(position_.step),
                                        "stage " + stage.name, position_.step);
    return result;
  }

  Forward forward(const PretrainStage& stage) {
    if (stage.kind == PretrainStage::Kind::kText) {
      const Tensor rows = text_order(stage.batch);
      const Tensor text = encode_rows(rows);
      return {regression_loss(text, data_.targets().index_select(0, rows)), {}, text.detach()};
    }
    const PretrainData::Batch batch = data_.draw(stage.batch, stage.share(position_.step), seed_, position_.draws);
    const Tensor targets = data_.targets().index_select(0, batch.text);
    const Tensor pixels = normalise_pixels(vary_drawings(batch.rgba, batch.mono, seed_, position_.draws));
    const Tensor image = unit_rows(model_.encode_image(pixels));
    if (stage.kind == PretrainStage::Kind::kImage) {
      return {contrastive_loss(image, targets, batch.key, model_.scale()), image.detach(), {}};
    }
    const Tensor rows = at::cat({batch.text, text_order(stage.extra_texts)});
    const Tensor all = encode_rows(rows);
    const Tensor text = all.narrow(0, 0, stage.batch);
    const Tensor loss = contrastive_loss(image, text, batch.key, model_.scale()) +
                        regression_loss(all, data_.targets().index_select(0, rows)) * stage.text_weight;
    return {loss, image.detach(), text.detach()};
  }

  /// The next `count` texts of the endless sequence of shuffled passes over all training texts.
  Tensor text_order(std::int64_t count) {
    const Tensor rows = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t place = position_.draws * count + i, pass = place / data_.training_texts();
      if (pass != pass_) {
        order_ = random_order(data_.training_texts(), seed_, "pretrain.texts", static_cast<std::uint64_t>(pass));
        pass_ = pass;
      }
      rows.data_ptr<std::int64_t>()[i] = order_[static_cast<std::size_t>(place % data_.training_texts())];
    }
    return rows;
  }

  Tensor encode_rows(const Tensor& rows) const {
    TokenTable texts;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      texts.push_back(tokens_[static_cast<std::size_t>(rows.const_data_ptr<std::int64_t>()[i])]);
    }
    return unit_rows(model_.encode_text(texts));
  }

  void report(const PretrainStage& stage, const Forward& forward, double loss, double rate) {
    Json line = {{"stage", stage.name},
                 {"step", position_.step},
                 {"samples", position_.samples},
                 {"seconds", clock_.seconds()},
                 {"loss", loss},
                 {"learning_rate", stage.rate(position_.step - 1)},
                 {"samples_per_second", rate},
                 {"scale", model_.scale().item<double>()}};
    const auto spread = [&](const char* name, const Tensor& rows) {
      if (!rows.defined()) return;
      const double cosine = mean_pairwise_cosine(rows);
      line[name] = cosine;
      if (cosine > kCollapsed && position_.step > stage.warmup) {
        throw Error(
            fmt::format("stage {}, step {}: expected features that differ, found a mean pairwise cosine of "
                        "{:.4f} ({}): the tower has collapsed; use a lower learning rate or a longer warm-up",
                        stage.name, position_.step, cosine, name));
      }
    };
    spread("image_cosine", forward.image);
    spread("text_cosine", forward.text);
    log_->write(line);
    log_->flush();
    note_ = fmt::format("{} loss {:.3f} {:.0f}/s", stage.name, loss, rate);
  }

  bool evaluation_due(const PretrainStage& stage) const {
    const std::int64_t interval = recipe_.integer("evaluation.samples");
    const std::int64_t done = position_.step * stage.batch;
    return position_.step == stage.steps() || (interval > 0 && done / interval != (done - stage.batch) / interval);
  }

  void evaluate(const PretrainStage& stage) {
    at::NoGradGuard no_grad;
    Json line = {{"stage", stage.name}, {"step", position_.step}, {"samples", position_.samples}};
    if (stage.kind != PretrainStage::Kind::kText) {
      line["evaluation"] = gate_.measure(
          [&](const std::vector<std::string>& texts) {
            return model_.encode_text(tokenise(model_.tokenizer(), texts, model_.config().text.context_length));
          },
          [&](const Tensor& pixels) { return model_.encode_image(pixels); });
      log_info(fmt::format("evaluation after {} samples\n{}", position_.samples, summary(line["evaluation"])));
    } else {
      line["unseen_text_loss"] = unseen_text_loss();
      log_info(fmt::format("evaluation after {} samples: 1 - cosine on texts kept apart {:.4f}", position_.samples,
                           line["unseen_text_loss"].get<double>()));
    }
    log_->write(line);
    log_->flush();
    run_.replace_model([&](const std::filesystem::path& folder) {
      model_.save_folder(folder);
      write_json(folder / "metrics.json", line);
    });
  }

  /// The regression loss on the texts of evaluations, which no stage trains on.
  double unseen_text_loss() const {
    const std::int64_t first = data_.training_texts(), count = std::ssize(data_.texts()) - first;
    if (count == 0) return std::nan("");
    const Tensor rows = at::arange(first, first + count, at::kLong);
    return regression_loss(encode_rows(rows), data_.targets().narrow(0, first, count)).item<double>();
  }

  void checkpoint() {
    position_.seconds = clock_.seconds();
    position_.log_bytes = log_->flush();
    run_.save_checkpoint(position_, model_.state(), optimiser_.get());
    saved_at_ = clock_.seconds();
  }

  const Config& recipe_;
  Progress* progress_;
  std::array<PretrainStage, 3> stages_;
  std::uint64_t seed_;
  PretrainData data_;
  NamingGate gate_;
  PretrainRun run_;
  std::optional<RunLog> log_;
  PretrainModel model_;
  TokenTable tokens_;
  std::unique_ptr<Optimiser> optimiser_;
  TensorMap saved_;  // of the checkpoint that is resumed, until its stage begins
  PretrainPosition position_;
  std::string note_;
  std::int64_t total_ = 0, pass_ = -1;
  std::vector<std::int64_t> order_;
  WorkClock clock_;
  double saved_at_ = 0.0;
};

}  // namespace

bool pretrain_clip(const ClipPretraining& pretraining, Progress* progress) {
  return Pretraining(pretraining, progress).run();
}

}  // namespace attune
