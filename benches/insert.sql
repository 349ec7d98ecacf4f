-- pgbench: the row that one usage log becomes, alone in its transaction.
INSERT INTO usage_logs (id, project_id, logged_at, provider, model, alias, profile, origin, input_tokens, output_tokens,
  cached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, input_includes_cached, cost_micros,
  cost_picos, cost_source, latency_ms, metadata)
VALUES (gen_random_uuid(), '00000000-0000-8000-8000-000000000001', now(), 'openai', 'gpt-4o-mini', 'summarizer', 'prod',
  'load', 1200, 350, 200, 0, 0, 0, true, 300, 0, 'client', 812, '{"finish_reason":"stop"}');
