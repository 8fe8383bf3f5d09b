
-- KEYS: index.
return drop_past(KEYS[1], now_ms())
