-- wrk: one usage log a request, priced by the caller.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = "load"
wrk.body = '{"provider":"openai","model":"gpt-4o-mini","input_tokens":1200,"output_tokens":350,' ..
  '"cached_input_tokens":200,"alias":"summarizer","profile":"prod","cost":0.0003,"origin":"load","latency_ms":812,' ..
  '"metadata":{"finish_reason":"stop"}}'

done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
