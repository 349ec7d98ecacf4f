-- wrk: one receipt a request, to be signed and stored.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = "load"
wrk.body = '{"provider":"openai","model":"gpt-4o-mini","alias":"summarizer","profile":"prod","registry_version":"7",' ..
  '"tokens":{"input":1200,"output":350,"cached_input":200},"cost":{"amount":"0.00039","calculation":"input 1200 × $0.15 / 1000000 = ' ..
  '$0.00018; output 350 × $0.6 / 1000000 = $0.00021"},"team":{"name":"search","tags":["a","b"]}}'

done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
