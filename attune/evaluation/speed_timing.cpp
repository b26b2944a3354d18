#include "attune/evaluation/speed_timing.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/record_function.h>

#include "attune/tensors/tensor.h"

namespace attune {
namespace {

std::atomic<double> counted_operations{0};

double elements(const Tensor& tensor) {
  return static_cast<double>(tensor.numel());
}

/// Floating-point operations of an operator; 0 where it is no matrix product.
double operations_of(std::string_view name, c10::ArrayRef<const c10::IValue> inputs) {
  const auto tensor = [&](std::size_t i) { return inputs[i].toTensor(); };
  const auto times = [&](std::size_t a, std::size_t b) {
    return 2 * elements(tensor(a)) * static_cast<double>(tensor(b).size(-1));
  };
  if (name == "aten::mm" || name == "aten::bmm") return times(0, 1);
  if (name == "aten::addmm" || name == "aten::baddbmm") return times(1, 2);
  if (name == "attune::linear" || name == "mkldnn::_linear_pointwise") {
    return 2 * elements(tensor(0)) / static_cast<double>(tensor(0).size(-1)) * elements(tensor(1));
  }
  if (name == "aten::_scaled_dot_product_flash_attention_for_cpu") {
    return 4 * elements(tensor(0)) * static_cast<double>(tensor(1).size(-2));
  }
  return 0;
}

std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
  const double operations = operations_of(function.name(), function.inputs());
  if (operations > 0) {
    double before = counted_operations.load();
    while (!counted_operations.compare_exchange_weak(before, before + operations)) {
    }
  }
  return nullptr;
}

/// Counts the operations of all threads while it lives.
class OperationCounter {
 public:
  OperationCounter() {
    counted_operations = 0;
    handle_ =
        at::addGlobalCallback(at::RecordFunctionCallback(count).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  OperationCounter(const OperationCounter&) = delete;
  OperationCounter& operator=(const OperationCounter&) = delete;
  ~OperationCounter() { at::removeCallback(handle_); }

 private:
  at::CallbackHandle handle_ = 0;
};

double milliseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double status_megabytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stod(line.substr(key.size())) / 1024.0;
  }
  return 0.0;
}

}  // namespace

Timing time_rounds(const TimeBudget& budget, const std::function<void()>& work, const std::function<void()>& prepare) {
  const auto round = [&] {
    if (prepare) prepare();
    return milliseconds(work);
  };
  Timing timing;
  std::vector<double> times;
  double spent = 0;
  if (prepare) prepare();
  {
    const OperationCounter counter;
    spent = milliseconds(work);
    timing.operations = counted_operations;
  }
  if (spent >= 1e3 * budget.seconds) times.push_back(spent);
  while (times.empty() || (static_cast<int>(times.size()) < budget.rounds && spent < 1e3 * budget.seconds)) {
    times.push_back(round());
    spent += times.back();
  }
  for (const double time : times) timing.total_ms += time;
  timing.rounds = static_cast<int>(times.size());
  const auto middle = times.begin() + timing.rounds / 2;
  std::nth_element(times.begin(), middle, times.end());
  timing.milliseconds = *middle;
  timing.fastest = *std::min_element(times.begin(), times.end());
  return timing;
}

double resident_megabytes() {
  return status_megabytes("VmRSS:");
}

double peak_megabytes() {
  return status_megabytes("VmHWM:");
}

}  // namespace attune
