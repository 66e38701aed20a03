-- Argo CD: the health of every kind of databosun.io, after kstatus: Stalled, then Reconciling, then Ready.
--
-- In the ConfigMap argocd-cm (its keys for single kinds take no wildcard, this one does):
--
--   resource.customizations: |
--     databosun.io/*:
--       health.lua: |
--         <this file>
--
-- Argo CD opens neither `string` nor `io` to such scripts, so none is used.

local function condition(kind)
  for _, one in ipairs(obj.status.conditions or {}) do
    if one.type == kind then
      return one
    end
  end
  return { status = "Unknown" }
end

local function says(one, otherwise)
  if one.message ~= nil and one.message ~= "" then
    return one.message
  end
  return one.reason or otherwise
end

local function health(status, message)
  return { status = status, message = message }
end

-- Nothing acts on an Approval itself: once accepted, it stands.
if obj.kind == "Approval" then
  return health("Healthy", "approved by " .. obj.spec.approvedBy)
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "being deleted")
end

local status = obj.status
if status == nil or status.observedGeneration == nil or status.conditions == nil then
  return health("Progressing", "the operator has not seen it yet")
end
if obj.metadata.generation ~= nil and status.observedGeneration < obj.metadata.generation then
  return health("Progressing", "the operator has not seen the last change yet")
end

local stalled = condition("Stalled")
if stalled.status == "True" then
  return health("Degraded", says(stalled, "stalled"))
end

local reconciling = condition("Reconciling")
if reconciling.status == "True" then
  return health("Progressing", says(reconciling, "in progress"))
end

local ready = condition("Ready")
if ready.status == "True" then
  if ready.reason == "Suspended" then
    return health("Suspended", says(ready, "suspended"))
  end
  -- Recoverability is the matter of alerts, not of a sync, but it is told.
  local protected = condition("Protected")
  if protected.status == "False" then
    return health("Healthy", "ready, but not protected: " .. says(protected, "no reason given"))
  end
  return health("Healthy", says(ready, "ready"))
end
if ready.status == "False" then
  return health("Degraded", says(ready, "not ready"))
end
return health("Progressing", says(ready, "not known yet"))
