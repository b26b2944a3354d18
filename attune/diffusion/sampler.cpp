#include "attune/diffusion/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using Times = std::vector<std::int64_t>;
using Spacing = SamplerConfig::Spacing;

/// Rounds halves to the even number, as numpy does.
std::int64_t rounded(double value) {
  return static_cast<std::int64_t>(std::nearbyint(value));
}

/// `steps` times spread over the schedule, ascending, in numpy's arithmetic.
Times spread(const SamplerConfig& config, std::int64_t steps) {
  const std::int64_t all = config.noise.steps;
  Times times;
  switch (config.spacing) {
    case Spacing::kLeading:
      for (std::int64_t i = 0; i < steps; ++i) times.push_back(i * (all / steps) + config.steps_offset);
      break;
    case Spacing::kTrailing: {
      const double ratio = static_cast<double>(all) / static_cast<double>(steps);
      const auto count = static_cast<std::int64_t>(std::ceil(static_cast<double>(all) / ratio));
      for (std::int64_t i = 0; i < count; ++i) {
        times.push_back(rounded(static_cast<double>(all) - static_cast<double>(i) * ratio) - 1);
      }
      std::reverse(times.begin(), times.end());
      break;
    }
    case Spacing::kLinspace: {
      const double last = static_cast<double>(all - 1);
      const double ratio = steps > 1 ? last / static_cast<double>(steps - 1) : 0.0;
      for (std::int64_t i = 0; i < steps; ++i) {
        times.push_back(i > 0 && i + 1 == steps ? all - 1 : rounded(static_cast<double>(i) * ratio));
      }
      break;
    }
  }
  if (times.front() < 0 || times.back() >= all) {
    throw UsageError(fmt::format("scheduler: {} steps and an offset of {} lead to the time {}, but there are only {}",
                                 steps, config.steps_offset, times.back(), all));
  }
  return times;
}

Times reversed(Times times) {
  std::reverse(times.begin(), times.end());
  return times;
}

/// One network answer as clean maps and noise.
struct Estimate {
  Tensor clean, noise;
};

/// What all samplers share: the products a_t of the schedule and how answers are read.
class Products {
 public:
  explicit Products(const SamplerConfig& config)
      : schedule_(config.noise), set_alpha_to_one_(config.set_alpha_to_one) {}

  /// a_t in fp32; behind the beginning of time 1 or, where the configuration wants it, that of time 0.
  float at(std::int64_t time) const {
    if (time < 0) return set_alpha_to_one_ ? 1.0F : at(0);
    return schedule_.alphas_cumprod().const_data_ptr<float>()[time];
  }

  Estimate estimate(const Tensor& predicted, const Tensor& maps, std::int64_t time) const {
    const float signal = std::sqrt(at(time)), deviation = std::sqrt(1.0F - at(time));
    switch (schedule_.config().prediction) {
      case Prediction::kNoise:
        return {(maps - deviation * predicted) / signal, predicted};
      case Prediction::kVelocity:
        return {signal * maps - deviation * predicted, signal * predicted + deviation * maps};
      case Prediction::kClean:
        return {predicted, (maps - signal * predicted) / deviation};
    }
    throw Error("scheduler: unknown prediction");
  }

 private:
  NoiseSchedule schedule_;
  bool set_alpha_to_one_;
};

Tensor clipped(const SamplerConfig& config, const Tensor& clean) {
  return config.clip_sample ? clean.clamp(-config.clip_range, config.clip_range) : clean;
}

class Ddim final : public Sampler {
 public:
  Ddim(const SamplerConfig& config, std::int64_t steps)
      : Sampler(reversed(spread(config, steps))),
        config_(config),
        products_(config),
        stride_(config.noise.steps / steps) {}

  Tensor next(const Tensor& predicted, const Tensor& maps, const std::function<Tensor()>&) override {
    const std::int64_t time = times_.at(done_++);
    const float before = products_.at(time - stride_);
    const auto [clean, noise] = products_.estimate(predicted, maps, time);
    return std::sqrt(before) * clipped(config_, clean) + std::sqrt(1.0F - before) * noise;
  }

 private:
  SamplerConfig config_;
  Products products_;
  std::int64_t stride_;
  std::size_t done_ = 0;
};

class Ddpm final : public Sampler {
 public:
  Ddpm(const SamplerConfig& config, std::int64_t steps)
      : Sampler(reversed(spread(config, steps))), config_(config), products_(always_to_one(config)) {}

  Tensor next(const Tensor& predicted, const Tensor& maps, const std::function<Tensor()>& noise) override {
    const std::int64_t time = times_.at(done_++);
    const bool last = done_ == times_.size();
    const float now = products_.at(time), before = products_.at(last ? -1 : times_[done_]);
    const float share = now / before, beta = 1.0F - share;
    const Tensor clean = clipped(config_, products_.estimate(predicted, maps, time).clean);
    Tensor mean =
        (std::sqrt(before) * beta / (1.0F - now)) * clean + (std::sqrt(share) * (1.0F - before) / (1.0F - now)) * maps;
    if (time == 0) return mean;
    constexpr float kLeast = 1e-20F;
    const float variance = config_.large_variance ? beta : std::max(kLeast, (1.0F - before) / (1.0F - now) * beta);
    return mean + std::sqrt(variance) * noise();
  }

 private:
  static SamplerConfig always_to_one(SamplerConfig config) {
    config.set_alpha_to_one = true;
    return config;
  }

  SamplerConfig config_;
  Products products_;
  std::size_t done_ = 0;
};

/// Pseudo-numerical steps: formula (9) of Liu et al. 2022 for the way from a time to another, with the noise of several
/// predictions put together.
class Pndm final : public Sampler {
 public:
  Pndm(const SamplerConfig& config, std::int64_t steps)
      : Sampler({}),
        velocity_(config.noise.prediction == Prediction::kVelocity),
        products_(config),
        stride_(config.noise.steps / steps) {
    const Times times = spread(config, steps);
    if (config.skip_prk_steps) {
      // The second time comes twice: the first step is made again with the mean of two predictions.
      times_ = times;
      if (times.size() > 1) times_.insert(times_.end() - 1, times[times.size() - 2]);
      times_ = reversed(times_);
    } else {
      start_with_runge_kutta(times);
    }
  }

  Tensor next(const Tensor& predicted, const Tensor& maps, const std::function<Tensor()>&) override {
    const std::size_t i = done_++;
    return i < runge_kutta_ ? runge_kutta(i, predicted, maps) : multistep(i, predicted, maps);
  }

 private:
  static constexpr std::size_t kOrder = 4;

  /// The last four times (but for the very last step of them) are made by four predictions each: at the time, twice
  /// half a stride on, and at the next time.
  void start_with_runge_kutta(const Times& times) {
    const std::int64_t half = stride_ / 2;
    Times pairs;
    for (std::size_t i = times.size() - kOrder; i < times.size(); ++i) {
      pairs.push_back(times[i]);
      pairs.push_back(times[i] + half);
    }
    pairs.pop_back();
    Times doubled;
    for (const auto time : pairs) doubled.insert(doubled.end(), 2, time);
    times_ = reversed(Times(doubled.begin() + 1, doubled.end() - 1));
    runge_kutta_ = times_.size();
    const Times rest = reversed(Times(times.begin(), times.end() - 3));
    times_.insert(times_.end(), rest.begin(), rest.end());
  }

  Tensor runge_kutta(std::size_t i, const Tensor& predicted, const Tensor& maps) {
    const std::int64_t from = times_[i / kOrder * kOrder];
    const std::int64_t to = times_[i] - (i % 2 == 1 ? 0 : stride_ / 2);
    constexpr std::array<double, kOrder> kShares{1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
    const Tensor share = kShares[i % kOrder] * predicted;
    if (i % kOrder == 0) {
      sum_ = share;
      earlier_.push_back(predicted);
      origin_ = maps;
    } else {
      sum_ = sum_ + share;
    }
    return moved(origin_, from, to, i % kOrder == kOrder - 1 ? sum_ : predicted);
  }

  Tensor multistep(std::size_t i, const Tensor& predicted, const Tensor& maps) {
    std::int64_t from = times_[i], to = times_[i] - stride_;
    Tensor origin = maps;
    if (i == 1 && runge_kutta_ == 0) {
      from = times_[i] + stride_;
      to = times_[i];
      origin = origin_;
    } else {
      if (earlier_.size() >= kOrder) earlier_.erase(earlier_.begin(), earlier_.end() - (kOrder - 1));
      earlier_.push_back(predicted);
    }
    if (i == 0) origin_ = maps;
    return moved(origin, from, to, combined(i, predicted));
  }

  Tensor combined(std::size_t i, const Tensor& predicted) const {
    const auto back = [&](std::size_t k) -> const Tensor& { return earlier_[earlier_.size() - k]; };
    switch (earlier_.size()) {
      case 1:
        return i == 0 ? predicted : (predicted + back(1)) / 2;
      case 2:
        return (3 * back(1) - back(2)) / 2;
      case 3:
        return (23 * back(1) - 16 * back(2) + 5 * back(3)) / 12;
      default:
        return (1.0 / 24) * (55 * back(1) - 59 * back(2) + 37 * back(3) - 9 * back(4));
    }
  }

  Tensor moved(const Tensor& maps, std::int64_t from, std::int64_t to, const Tensor& predicted) const {
    const float now = products_.at(from), before = products_.at(to);
    const Tensor noise = velocity_ ? std::sqrt(now) * predicted + std::sqrt(1.0F - now) * maps : predicted;
    const float scale = now * std::sqrt(1.0F - before) + std::sqrt(now * (1.0F - now) * before);
    return std::sqrt(before / now) * maps - (before - now) * noise / scale;
  }

  bool velocity_;
  Products products_;
  std::int64_t stride_;
  std::size_t runge_kutta_ = 0, done_ = 0;
  std::vector<Tensor> earlier_;
  Tensor sum_, origin_;
};

void check(const SamplerConfig& config, std::int64_t steps) {
  if (steps < 1 || steps > config.noise.steps) {
    throw UsageError(fmt::format("scheduler: expected 1 to {} steps, found {}", config.noise.steps, steps));
  }
  const bool pndm = config.kind == SamplerKind::kPndm;
  if (pndm && !config.skip_prk_steps && steps < 4) {
    throw UsageError(fmt::format("scheduler: pndm with its Runge-Kutta steps needs at least 4 steps, found {}", steps));
  }
  if (pndm && config.noise.prediction == Prediction::kClean) {
    throw UsageError("scheduler: pndm samples models that predict noise or velocity, not clean maps");
  }
  if (config.noise.rescale_to_zero_signal && (pndm || config.noise.prediction == Prediction::kNoise)) {
    throw UsageError(
        "scheduler: where nothing of the picture is left at the end of time (rescale_betas_zero_snr), noise says "
        "nothing about it: expected ddim or ddpm and a model that predicts velocity or clean maps");
  }
}

}  // namespace

std::unique_ptr<Sampler> make_sampler(const SamplerConfig& config, std::int64_t steps) {
  check(config, steps);
  switch (config.kind) {
    case SamplerKind::kDdim:
      return std::make_unique<Ddim>(config, steps);
    case SamplerKind::kDdpm:
      return std::make_unique<Ddpm>(config, steps);
    case SamplerKind::kPndm:
      return std::make_unique<Pndm>(config, steps);
  }
  throw Error("scheduler: unknown kind");
}

}  // namespace attune
