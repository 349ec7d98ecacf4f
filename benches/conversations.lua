-- wrk: lists of conversations; BENCH_REQUEST says which, BENCH_IDS is a file of conversations' ids.
local kind = os.getenv("BENCH_REQUEST")
local ids = {}
for id in io.lines(os.getenv("BENCH_IDS")) do ids[#ids + 1] = id end

wrk.headers["X-API-Key"] = "load"

local paths = {
  list = function() return "/conversations" end,
  page = function() return "/conversations?limit=20&offset=" .. math.random(0, 1000) end,
  one = function() return "/conversations/" .. ids[math.random(#ids)] .. "?message_limit=100" end,
  search = function() return "/conversations?q=word" .. math.random(0, 9999) end,
}

request = function() return wrk.format("GET", paths[kind]()) end

done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
