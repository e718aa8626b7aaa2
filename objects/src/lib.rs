//! The LwM2M data model: paths, values, object tables, content formats, characteristics.
