#include "attune/cli/program.h"

int main(int count, char** arguments) {
  return attune::run_program(count, arguments);
}
