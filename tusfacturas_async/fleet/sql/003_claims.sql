-- Which claim of its row an outcome is of: what was lost on its way to PostgreSQL can still arrive, after the row
-- was claimed again under the same lease.

ALTER TABLE tusfacturas.work ADD COLUMN claims integer NOT NULL DEFAULT 0;
