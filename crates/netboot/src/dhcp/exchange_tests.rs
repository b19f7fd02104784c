//! Tables of requests and outcomes, the bytes of replies, and the exchange against a reference model.
