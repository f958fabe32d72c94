/* Declarations of our own of what a sketch calls; the Arduino core's header is not here. */
#include <stdint.h>
#include <stddef.h>

class FakeSerial {
 public:
  void begin(unsigned long baud);
  void setTimeout(unsigned long milliseconds);
  float parseFloat();
  size_t print(const char *text);
  size_t print(char letter);
  size_t print(double value, int digits = 2);
  size_t print(unsigned long value);
  size_t println(const char *text);
  size_t println(int value);
};
extern FakeSerial Serial;
unsigned long micros();
