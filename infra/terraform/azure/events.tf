resource "azurerm_eventgrid_system_topic" "this" {
  name                = "${var.name}-object-events"
  resource_group_name = var.resource_group
  location            = var.location
  source_resource_id  = var.storage_account_id
  topic_type          = "Microsoft.Storage.StorageAccounts"
  tags                = var.tags
}

resource "azurerm_eventgrid_system_topic_event_subscription" "this" {
  name                = "${var.name}-object-events"
  resource_group_name = var.resource_group
  system_topic        = azurerm_eventgrid_system_topic.this.name

  # The receiver answers the handshake of this schema (OPTIONS, WebHook-Request-Origin).
  event_delivery_schema = "CloudEventSchemaV1_0"
  included_event_types  = ["Microsoft.Storage.BlobCreated"]

  # Deliveries carry a token of this tenant for this application, which the receiver verifies.
  webhook_endpoint {
    url                            = var.endpoint
    active_directory_tenant_id     = var.tenant_id
    active_directory_app_id_or_uri = var.application_id
    max_events_per_batch           = 1
  }

  advanced_filter {
    string_begins_with {
      key    = "subject"
      values = [for container, prefix in var.containers : "/blobServices/default/containers/${container}/blobs/${prefix}"]
    }
  }

  retry_policy {
    event_time_to_live    = 1440
    max_delivery_attempts = 30
  }

  dynamic "storage_blob_dead_letter_destination" {
    for_each = var.dead_letter_container == null ? [] : [var.dead_letter_container]
    content {
      storage_account_id          = var.storage_account_id
      storage_blob_container_name = storage_blob_dead_letter_destination.value
    }
  }

  lifecycle {
    precondition {
      condition     = var.dead_letter_container == null || !contains(keys(var.containers), coalesce(var.dead_letter_container, "-"))
      error_message = "dead_letter_container is one of the containers that are loaded: each dead letter would be an event itself."
    }
  }
}
