-- What the service told by itself: each event once.

CREATE TABLE tusfacturas.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meaning text NOT NULL UNIQUE,             -- of reference, event and creado
    external_reference text,
    rank integer NOT NULL,
    created_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    payload text NOT NULL
);

CREATE INDEX event_by_reference ON tusfacturas.event (external_reference);
