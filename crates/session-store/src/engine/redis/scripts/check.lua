-- Whether a session record may be written.

-- Why it may not, as the answer { outcome, detail }; nil when it may. `expected`: what must lie there, or NOTHING. `create`: 'never', 'always', or the session's createdAt in ms.
local function refusal(current, expected, create, now)
  if is_tombstone(current) then return { 'REFUSED' } end
  if current and current ~= expected then return { 'DIFFERS', current } end
  if not current and (create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > YOUNG_MS)) then
    return { 'OLD', digits(now) }
  end
end
