-- The loader's script for wrk. Options come from the environment, since wrk decides by the functions defined here
-- whether a request is fixed and whether responses are parsed: what is not asked for costs the loader nothing.
--   BENCH_KEYS=N      requests carry `x-user: user-0` to `user-(N-1)` in turn
--   BENCH_INSPECT=1   counts responses by status and body length (the warm-up; too slow for the measurement)
local keys = tonumber(os.getenv("BENCH_KEYS") or "0")
local inspect = os.getenv("BENCH_INSPECT") == "1"

local threads = {}
function setup(thread)
   table.insert(threads, thread)
end

if keys > 0 then
   local requests, next_key = {}, 0
   function init(args)
      for i = 1, keys do
         wrk.headers["x-user"] = "user-" .. (i - 1)
         requests[i] = wrk.format("GET")
      end
   end
   function request()
      next_key = next_key % keys + 1
      return requests[next_key]
   end
end

if inspect then
   seen = {}
   function response(status, headers, body)
      local kind = status .. ":" .. #body
      seen[kind] = (seen[kind] or 0) + 1
   end
end

-- One line of JSON for the bench; wrk's own text is ignored.
function done(summary, latency, requests)
   local kinds = {}
   for _, thread in ipairs(threads) do
      for kind, count in pairs(thread:get("seen") or {}) do
         table.insert(kinds, string.format('"%s":%d', kind, count))
      end
   end
   local errors = summary.errors
   print(string.format(
      'RESULT {"requests":%d,"bytes":%d,"seconds":%f,"status_errors":%d,"socket_errors":%d,"seen":{%s}}',
      summary.requests, summary.bytes, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout, table.concat(kinds, ",")))
end
