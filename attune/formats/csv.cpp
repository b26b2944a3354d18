#include "attune/formats/csv.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr std::size_t kMostFields = 4096;
constexpr std::size_t kMostRows = 5'000'000;

class CsvParser {
 public:
  CsvParser(std::string_view text, std::string_view name) : rest_(text), name_(name) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
  }

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> rows;
    while (!rest_.empty()) {
      if (take_line_end()) continue;
      if (rows.size() == kMostRows) refuse(fmt::format("expected at most {} records", kMostRows));
      rows.push_back(row());
    }
    return rows;
  }

 private:
  [[noreturn]] void refuse(std::string_view text) const { throw Error(fmt::format("{}:{}: {}", name_, line_, text)); }

  bool take_line_end() {
    const std::size_t length = rest_.starts_with("\r\n") ? 2 : rest_.starts_with('\n') ? 1 : 0;
    rest_.remove_prefix(length);
    if (length > 0) ++line_;
    return length > 0;
  }

  CsvRow row() {
    CsvRow row{line_, {}};
    for (;;) {
      if (row.fields.size() == kMostFields) refuse(fmt::format("expected at most {} fields", kMostFields));
      row.fields.push_back(rest_.starts_with('"') ? quoted() : unquoted());
      if (rest_.empty() || take_line_end()) return row;
      if (!rest_.starts_with(',')) refuse("expected a comma or the end of the line after a closing quote");
      rest_.remove_prefix(1);
    }
  }

  std::string unquoted() {
    std::size_t length = rest_.find_first_of(",\n\"");
    if (length == rest_.npos) length = rest_.size();
    if (length < rest_.size() && rest_[length] == '"')
      refuse("expected quotes around the whole field, found one within it");
    // A carriage return belongs to the line end where one follows.
    const bool line_end = length < rest_.size() && rest_[length] == '\n';
    if (line_end && length > 0 && rest_[length - 1] == '\r') --length;
    return take(length);
  }

  std::string quoted() {
    const std::int64_t opened = line_;
    rest_.remove_prefix(1);
    std::string field;
    for (;;) {
      const std::size_t length = rest_.find('"');
      if (length == rest_.npos) {
        line_ = opened;
        refuse("expected a closing quote, found the end of the text");
      }
      field += take(length);
      rest_.remove_prefix(1);
      if (!rest_.starts_with('"')) return field;
      field += '"';
      rest_.remove_prefix(1);
    }
  }

  std::string take(std::size_t length) {
    std::string text(rest_.substr(0, length));
    rest_.remove_prefix(length);
    for (const char c : text) {
      if (c == '\0') refuse("expected text, found a NUL character");
      if (c == '\n') ++line_;
    }
    return text;
  }

  std::string_view rest_;
  std::string_view name_;
  std::int64_t line_ = 1;
};

}  // namespace

std::vector<CsvRow> parse_csv(std::string_view text, std::string_view name) {
  return CsvParser(text, name).rows();
}

std::vector<CsvRow> read_csv(const std::filesystem::path& path, std::uint64_t limit) {
  return parse_csv(read_file(path, limit), path.string());
}

std::string csv_field(std::string_view text) {
  const bool special = text.find_first_of(",\"\r\n") != text.npos;
  // An empty field alone on its line would read as an empty line, and a mark as that of the file.
  if (!special && !text.empty() && !text.starts_with("\xEF\xBB\xBF")) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace attune
