-- Whether `value` is the session record of another key than `id`: of an application whose prefix is
-- longer. A record ends in one space and holds its token as it is. No other value ends in exactly
-- one space (value.rs).
local function is_record_of_another(id, value)
  return string.sub(value, -2) == '} ' and not string.find(value, id, 1, true)
end
