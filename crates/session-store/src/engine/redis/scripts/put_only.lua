
local KEYS_EACH = 2

local function must_fold()
  return false
end

local function created()
  return 'CREATED'
end
