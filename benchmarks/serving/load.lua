-- Questions are made before the run, so that wrk only sends bytes; the result goes to a file as JSON.
local requests, place = {}, 0

function init(args)
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", wrk.path, {["Content-Type"] = "application/json"}, body)
  end
  answer = args[2]
end

-- With a rate, questions are due at times that do not depend on the answers; the next free connection takes the next.
local rate = tonumber(os.getenv("REQUESTS_PER_SECOND"))
if rate then
  local ffi, due = require("ffi"), nil
  ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *);")
  local moment = ffi.new("moment")
  function delay()
    ffi.C.clock_gettime(1, moment)
    local now = tonumber(moment.s) * 1e3 + tonumber(moment.ns) / 1e6
    due = (due or now) + 1e3 / rate * (0.5 + math.random())
    return math.max(0, math.floor(due - now + 0.5))
  end
end

function setup(thread)
  wrk.thread = thread
  last = thread
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency, requests)
  local file = io.open(last:get("answer"), "w")
  local errors = summary.errors
  file:write(string.format(
    '{"rps": %.1f, "p50": %.3f, "p99": %.3f, "p999": %.3f, "answers": %d, "refused": %d, "broken": %d}',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
  file:close()
end
