-- Entries of a studio by their times: what happened in a window is found without going through all that ever did.

SET LOCAL ROLE {app}_owner;
CREATE INDEX entries_by_time ON ledger.entries (tenant_id, at);
