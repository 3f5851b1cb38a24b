"""Sources of cloud files: Cloud Storage, S3 and Azure Blob Storage through one contract."""
