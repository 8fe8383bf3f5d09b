-- Drops the entries of an index whose expiry is past by the margin. Answers how many.
--
-- KEYS[1]  index

--- @include "clock"
--- @include "drop_past_entries"

return drop_past_entries(KEYS[1], now_ms())
