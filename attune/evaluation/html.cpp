#include "attune/evaluation/html.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/evaluation/page_style.h"
#include "attune/text/unicode.h"

namespace attune {

std::string escape(std::string_view text) {
  std::string result;
  for (const char c : replace_ill_formed(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
          result += "\xEF\xBF\xBD";
        } else {
          result += c;
        }
    }
  }
  return result;
}

std::string per_cent_plain(double share, int digits) {
  return std::isfinite(share) ? fmt::format("{:.{}f}", 100 * share, digits) : "–";
}

std::string per_cent(double share, int digits) {
  return std::isfinite(share) ? per_cent_plain(share, digits) + "\u202F%" : "–";
}

std::string points(double difference, int digits) {
  if (!std::isfinite(difference)) return "–";
  const std::string size = fmt::format("{:.{}f}", std::abs(100 * difference), digits);
  const bool zero = size.find_first_not_of("0.") == std::string::npos;
  return (zero ? "±" : difference < 0 ? "−" : "+") + size;
}

std::string per_cent_range(const Interval& interval, int digits) {
  return per_cent_plain(interval.low, digits) + "–" + per_cent_plain(interval.high, digits);
}

std::string whole(std::int64_t count) {
  std::string digits = std::to_string(count);
  const std::ptrdiff_t first = count < 0 ? 1 : 0;
  for (std::ptrdiff_t i = std::ssize(digits) - 3; i > first; i -= 3) digits.insert(static_cast<std::size_t>(i), ",");
  return digits;
}

std::string counted(std::size_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", whole(static_cast<std::int64_t>(count)), count == 1 ? one : many);
}

int sensible_digits(std::int64_t count) {
  return count < 100 ? 0 : 1;
}

std::string html_table(const Table& table) {
  const auto classes = [](const Column& column) {
    std::string names = column.style_class;
    if (column.numeric) names += " num";
    if (column.only_wide) names += " wide";
    return names.empty() ? names : " class=\"" + names.substr(names.front() == ' ' ? 1 : 0) + "\"";
  };
  std::string html =
      fmt::format("<table class=\"{}\"><caption>{}</caption>\n<thead><tr>", table.style_class, escape(table.caption));
  for (const Column& column : table.columns) {
    const std::string sort = column.sort_hint.empty() ? "" : fmt::format(" data-sort=\"{}\"", column.sort_hint);
    html += fmt::format("<th scope=\"col\"{}{}>{}</th>", classes(column), sort, column.heading);
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : table.rows) {
    html += row.style_class.empty() ? "<tr>" : "<tr class=\"" + row.style_class + "\">";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const Column& column = table.columns.at(i);
      const std::string value =
          column.sort_hint == "number" ? fmt::format(" data-value=\"{:.6g}\"", row.cells[i].sort_value) : "";
      html += i == 0 ? "<th scope=\"row\"" : "<td";
      html += classes(column) + value + ">" + row.cells[i].html + (i == 0 ? "</th>" : "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

std::string html_section(std::string_view id, std::string_view heading, std::string_view body) {
  return fmt::format("<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>\n{2}</section>\n",
                     id, escape(heading), body);
}

std::string html_note(std::string_view html) {
  return fmt::format("<p class=\"note\">{}</p>\n", html);
}

std::string html_details(std::string_view summary, std::string_view body) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", escape(summary), body);
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n"
      "<body>\n{}<script>\n{}</script>\n</body>\n</html>\n",
      escape(title), kPageStyle, body, kPageScript);
}

}  // namespace attune
